"""Whether this service can do its work: what `/readyz` tells."""

from sqlalchemy import Connection

from overnight.domain.errors import Unavailable
from overnight.seams import Seams
from overnight.store import workers
from overnight.store.blobs import SCARCE_BYTES, Blobs
from overnight.store.database import Database


class Health:
    """Looks at the parts; never raises for what it finds."""

    def __init__(self, database: Database, blobs: Blobs, seams: Seams) -> None:
        self._database = database
        self._blobs = blobs
        self._disk = seams.disk
        self._clock = seams.clock

    async def missing(self) -> list[str]:
        """Names of the parts that are not there; empty when ready."""
        return await self._missing_processes() + self._missing_blobs()

    async def _missing_processes(self) -> list[str]:
        now = self._clock.now()

        def look(tx: Connection) -> list[str]:
            return [role for role in ("clerk", "worker") if not workers.alive(tx, role, now)]

        try:
            return await self._database.read(look)
        except Unavailable:
            return ["database"]

    def _missing_blobs(self) -> list[str]:
        try:
            free = self._disk.free_bytes(self._blobs.jobs_folder)
            return [] if free >= SCARCE_BYTES else ["disk space"]
        except OSError:
            return ["blobs"]
