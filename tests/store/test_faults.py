"""The faults of a refused job come back as they went in, older ones too."""

from sqlalchemy import Connection, text

from overnight.domain.fault_codes import FaultCode
from overnight.domain.request import Fault
from overnight.store import jobs
from support.store import Store, new_job

OLD = '[{"code":"empty_file","message":"Empty.","line":null,"param":null,"excerpt":null}]'


def _write_old(tx: Connection) -> None:
    tx.execute(text("UPDATE jobs SET faults = :faults"), {"faults": OLD})


def test_a_fault_comes_back_as_it_was(store: Store) -> None:
    faults = [Fault(FaultCode.INVALID_URL, "It is wrong.", 3, "url", '{"url": "/v2"}', (8, 13))]
    store.do(jobs.create, new_job())
    (claim,) = store.do(jobs.claim_validation, "clerk1", 1)
    store.do(jobs.reject, claim, faults, 1_100.0)
    assert store.do(jobs.get, "batch_a").faults == tuple(faults)


def test_faults_without_a_mark_can_still_be_read(store: Store) -> None:
    store.do(jobs.create, new_job())
    store.do(_write_old)
    assert store.do(jobs.get, "batch_a").faults == (Fault("empty_file", "Empty."),)
