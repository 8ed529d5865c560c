//! What the plan itself costs per step: 64 tasks that all read the same 64 blocks, over two workers.

use plan::{Action, Event, Plan, Profile, Settings, Tick, Wrote};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tensor::{
    BlockId, KeyRange, ObjectKey, Op, OpFamily, PartialSpec, Read, Step, StepId, TableId, Task,
    TaskId, WorkerId,
};

fn half_step(id: u64, blocks: u32) -> Step {
    let op = Op {
        family: OpFamily::Probe,
        version: 1,
        body: Arc::from(&[][..]),
    };
    let all = |version| KeyRange::Blocks {
        table: TableId(0),
        first: 0,
        count: blocks,
        version,
    };
    let task = |index| Task {
        id: TaskId {
            step: StepId(id),
            index,
        },
        op: op.clone(),
        reads: if id == 0 {
            Vec::new()
        } else {
            vec![Read::whole(all(id - 1))]
        },
        writes: vec![ObjectKey::Block {
            table: TableId(0),
            block: BlockId(index),
            version: id,
        }],
        after: Vec::new(),
        chain: None,
        cost: 1,
    };
    Step {
        id: StepId(id),
        name: "half-step".to_owned(),
        tasks: (0..blocks).map(task).collect(),
        partial: PartialSpec::Sum,
        frees: id.checked_sub(1).map(all).into_iter().collect(),
    }
}

/// Runs steps one after the other; the time spent inside the plan per step, and the messages it sent.
fn run(blocks: u32, steps: u64) -> (Duration, usize) {
    let mut plan = Plan::new(Settings::default());
    for worker in 0..2 {
        plan.on(
            Tick(0),
            Event::WorkerJoined(
                WorkerId(worker),
                Profile {
                    threads: 1,
                    memory_bytes: 1 << 30,
                },
            ),
        );
    }
    let (mut inside, mut messages, mut whole) = (Duration::ZERO, 0, 0);
    for id in 0..steps {
        let mut events = VecDeque::from([Event::Submit(half_step(id, blocks))]);
        while let Some(event) = events.pop_front() {
            let begin = Instant::now();
            let actions = plan.on(Tick(id), event);
            inside += begin.elapsed();
            for action in actions {
                whole += u64::from(matches!(action, Action::StepDone(..)));
                let Action::Assign(worker, tasks) = action else {
                    continue;
                };
                messages += 1;
                events.extend(tasks.iter().map(|assignment| Event::TaskDone {
                    worker,
                    task: assignment.task.id,
                    attempt: assignment.attempt,
                    partial: 1.0_f64.to_le_bytes().to_vec(),
                    wrote: vec![Wrote {
                        key: assignment.task.writes[0],
                        bytes: 64,
                        digest: None,
                    }],
                }));
            }
        }
    }
    assert_eq!(whole, steps);
    assert_eq!(plan.objects(), blocks as usize);
    (inside / steps as u32, messages / steps as usize)
}

#[test]
fn a_step_over_64_blocks_costs_little() {
    for blocks in [8, 64, 512] {
        let (inside, messages) = run(blocks, 50);
        println!("{blocks} blocks: {inside:?} in the plan and {messages} messages a step");
        // A hundred times what it takes: quadratic growth would be seen, a busy machine not.
        assert!(
            inside < Duration::from_micros(200) * blocks,
            "{blocks} blocks: {inside:?} a step"
        );
    }
}
