"""Our dispatcher with everything on: planned offsets, fenced frames, syncs, judgement, tokens."""

import asyncio
from contextlib import closing

from measured import ENDPOINT, Job, Spent, Stopwatch, main

from overnight.dispatch.dispatcher import Dispatcher, DispatchOptions
from overnight.dispatch.lane import LaneOptions
from overnight.dispatch.segment import begin_segment
from overnight.dispatch.shard import OpenShard, ShardOrder
from overnight.dispatch.target import Target
from overnight.dispatch.window import load_window
from overnight.domain.request import LineRules
from overnight.seams import Seams
from overnight.service.validator import Validation


async def ours(job: Job) -> Spent:
    seams = Seams()
    disk, segments = seams.disk, job.target.with_name("segments")
    disk.make_folder(segments)
    plan_path = segments / "plan"
    with closing(disk.open(job.source)) as source, closing(disk.create(plan_path)) as plan:
        validation = Validation(source, plan, LineRules(endpoint=ENDPOINT))
        for _ in validation.steps():
            pass
    assert validation.plan is not None
    waiting = list(validation.plan.shards)
    missing = len(waiting)
    dispatcher = Dispatcher(seams, DispatchOptions())
    target = Target.parse(f"http://127.0.0.1:{job.port}/v1")
    with closing(disk.open(job.source)) as source, closing(disk.open(plan_path)) as plan:
        async with dispatcher.running():
            lane = dispatcher.add_lane(LaneOptions(target, max_in_flight=job.in_flight))
            stopwatch = Stopwatch()
            while missing:
                while waiting and dispatcher.wanted(lane) > 0:
                    shard = waiting.pop(0)
                    order = ShardOrder("batch_" + "a" * 24, shard.ordinal, 1, shard.model, ENDPOINT)
                    window = load_window(plan, source, shard)
                    writer, index = begin_segment(disk, segments, shard.ordinal, 1)
                    dispatcher.open(OpenShard(order, window, writer, index))
                await asyncio.sleep(0.05)
                while not dispatcher.finished.empty():
                    dispatcher.finished.get_nowait()
                    missing -= 1
            spent = stopwatch.read()
    assert dispatcher.counts.succeeded == job.requests
    return spent


if __name__ == "__main__":
    main(ours)
