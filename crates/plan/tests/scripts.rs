//! The plan as scripts: events in, actions out, one line each.
//!
//! Objects: `A3.1` is block 3 of table A at version 1, `A0-7.1` eight blocks, `sN` a sealed object. A step is
//! `step ID KIND: reads>writes @cost ^chain &after; ... free OBJECTS`; kinds are `none`, `sum`, `collect`, and
//! `stores` for tasks that wait for disks.

use plan::{
    Action, Assignment, Dismissal, Event, Failure, Holder, Plan, Profile, Settings, Tick, Wrote,
};
use std::fmt::Write;
use std::sync::Arc;
use tensor::{
    BlockId, DepotId, Digest, KeyRange, ObjectKey, Op, OpFamily, PartialSpec, Read, Step, StepId,
    TableId, Task, TaskId, WorkerId,
};

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn range(text: &str) -> KeyRange {
    if let Some(number_) = text.strip_prefix('s') {
        let digest = Digest([number(number_); 32]);
        return ObjectKey::Sealed {
            depot: DepotId::DATA,
            digest,
            bytes: 100,
        }
        .into();
    }
    let table = TableId(u16::from(text.as_bytes()[0] - b'A'));
    let (blocks, version) = text[1..].split_once('.').expect("a version");
    let version = number(version);
    match blocks.split_once('-') {
        Some((first, last)) => {
            let first: u32 = number(first);
            KeyRange::Blocks {
                table,
                first,
                count: number::<u32>(last) - first + 1,
                version,
            }
        }
        None => ObjectKey::Block {
            table,
            block: BlockId(number(blocks)),
            version,
        }
        .into(),
    }
}

fn key(text: &str) -> ObjectKey {
    range(text).keys().next().expect("a key")
}

fn worker(text: &str) -> WorkerId {
    WorkerId(number(text.trim_start_matches('w')))
}

fn id(text: &str) -> TaskId {
    let (step, index) = text.split_once('.').expect("STEP.INDEX");
    TaskId {
        step: StepId(number(step)),
        index: number(index),
    }
}

fn step(text: &str) -> Step {
    let (head, rest) = text.split_once(':').expect("a colon");
    let mut head = head.split_whitespace();
    let id = StepId(number(head.next().expect("an id")));
    let kind = head.next();
    let partial = match kind {
        Some("sum") => PartialSpec::Sum,
        Some("collect") => PartialSpec::Collect,
        _ => PartialSpec::None,
    };
    let (tasks, frees) = rest.split_once("free").unwrap_or((rest, ""));
    let tasks = tasks
        .split(';')
        .filter(|task| !task.trim().is_empty())
        .enumerate();
    let op = if kind == Some("stores") {
        Op::persist()
    } else {
        Op {
            family: OpFamily::Probe,
            version: 1,
            body: Arc::from(&[][..]),
        }
    };
    Step {
        id,
        name: "script".to_owned(),
        tasks: tasks
            .map(|(index, text)| {
                task(
                    TaskId {
                        step: id,
                        index: index as u32,
                    },
                    &op,
                    text,
                )
            })
            .collect(),
        partial,
        frees: frees.split_whitespace().map(range).collect(),
    }
}

fn task(id_: TaskId, op: &Op, text: &str) -> Task {
    let mut task = Task {
        id: id_,
        op: op.clone(),
        reads: Vec::new(),
        writes: Vec::new(),
        after: Vec::new(),
        chain: None,
        cost: 1,
    };
    let mut writing = false;
    for word in text.replace('>', " > ").split_whitespace() {
        match word.split_at(1) {
            (">", _) => writing = true,
            ("@", cost) => task.cost = number(cost),
            ("^", chain) => task.chain = Some(number(chain)),
            ("&", after) => task.after.push(id(after)),
            _ if writing => task.writes.push(key(word)),
            _ => task.reads.push(Read::whole(range(word))),
        }
    }
    task
}

fn event(text: &str, writes: &dyn Fn(TaskId) -> Vec<ObjectKey>) -> Event {
    let words: Vec<&str> = text.split_whitespace().collect();
    let assigned = |text: &str| {
        let (task, attempt) = text.split_once('#').unwrap_or((text, "0"));
        (id(task), number::<u32>(attempt))
    };
    match words.as_slice() {
        ["join", w, rest @ ..] => {
            let threads = rest.first().map_or(1, |threads| number(threads));
            Event::WorkerJoined(
                worker(w),
                Profile {
                    threads,
                    memory_bytes: 1 << 30,
                },
            )
        }
        ["lost", w] => Event::WorkerLost(worker(w)),
        ["drain", w] => Event::WorkerDraining(worker(w)),
        ["alive", w] => Event::WorkerAlive(worker(w)),
        ["tick"] => Event::TimePassed,
        ["restarted"] => Event::Restarted,
        ["free", object] => Event::Free(range(object)),
        ["wanted", object] => Event::Wanted(key(object)),
        ["durable", object] => Event::Durable {
            key: key(object),
            digest: Digest::default(),
            bytes: 8,
            row_bytes: 8,
        },
        ["done", w, assignment, partial @ ..] => {
            let (task, attempt) = assigned(assignment);
            let values = partial
                .iter()
                .flat_map(|value| number::<f64>(value).to_le_bytes());
            let wrote = writes(task)
                .into_iter()
                .map(|key| Wrote {
                    key,
                    bytes: 8,
                    digest: None,
                })
                .collect();
            Event::TaskDone {
                worker: worker(w),
                task,
                attempt,
                partial: values.collect(),
                wrote,
            }
        }
        ["returned", w, assignment] => {
            let (task, attempt) = assigned(assignment);
            Event::TaskReturned {
                worker: worker(w),
                task,
                attempt,
            }
        }
        ["failed", w, assignment, why @ ..] => {
            let (task, attempt) = assigned(assignment);
            let failure = match why {
                ["unreachable", object, holder] => Failure::Unreachable {
                    key: key(object),
                    holder: worker(holder),
                },
                ["corrupt", object, holder] => Failure::Corrupt {
                    key: key(object),
                    holder: Some(worker(holder)),
                },
                ["refused"] => Failure::Refused {
                    refusal: plan::Refusal::BadData,
                    sentence: "bad row".to_owned(),
                },
                ["panicked"] => Failure::Panicked {
                    sentence: format!("task {task} on {w} panicked: row 7 is odd"),
                },
                ["bug"] => Failure::Refused {
                    refusal: plan::Refusal::Bug,
                    sentence: "a run of ids ends early".to_owned(),
                },
                ["disk"] => Failure::Disk {
                    sentence: "no such file".to_owned(),
                },
                _ => Failure::Exhausted {
                    sentence: "disk full".to_owned(),
                },
            };
            Event::TaskFailed {
                worker: worker(w),
                task,
                attempt,
                failure,
            }
        }
        _ => Event::Submit(step(
            text.strip_prefix("step")
                .unwrap_or_else(|| panic!("`{text}`?")),
        )),
    }
}

fn show_range(range: &KeyRange) -> String {
    let one = |key: &ObjectKey| match key {
        ObjectKey::Block {
            table,
            block,
            version,
        } => {
            format!("{}{}.{version}", (b'A' + table.0 as u8) as char, block.0)
        }
        other => other.to_string(),
    };
    match range {
        KeyRange::One(key) => one(key),
        KeyRange::Blocks {
            table,
            first,
            count,
            version,
        } => {
            format!(
                "{}{first}-{}.{version}",
                (b'A' + table.0 as u8) as char,
                first + count - 1
            )
        }
    }
}

fn show_assignment(assignment: &Assignment) -> String {
    let mut text = assignment.task.id.to_string();
    if assignment.attempt > 0 {
        write!(text, "#{}", assignment.attempt).expect("a string");
    }
    for source in &assignment.sources {
        let holders = source.holders.iter().map(|holder| match holder {
            Holder::Worker(worker) => worker.to_string(),
            Holder::Durable { .. } => "depot".to_owned(),
        });
        let holders: Vec<String> = holders.collect();
        write!(text, " {}<{}", show_range(&source.keys), holders.join("|")).expect("a string");
    }
    text
}

fn show(action: &Action) -> String {
    match action {
        Action::Assign(worker, tasks) => {
            let tasks: Vec<String> = tasks.iter().map(show_assignment).collect();
            format!("{worker}[{}]", tasks.join(", "))
        }
        Action::Revoke(worker, task, attempt) => format!("revoke {worker} {task}#{attempt}"),
        Action::Drop(worker, ranges) => {
            let ranges: Vec<String> = ranges.iter().map(show_range).collect();
            format!("drop {worker} {}", ranges.join(" "))
        }
        Action::StepDone(step, reduced) => format!("step {} {reduced:?}", step.0),
        Action::RollBack(key) => format!("roll back {}", show_range(&KeyRange::One(*key))),
        Action::Suspect(worker) => format!("suspect {worker}"),
        Action::Trust(worker) => format!("trust {worker}"),
        Action::Differ(task, workers) => format!("differ {task} {} {}", workers[0], workers[1]),
        Action::Slow(worker, task) => format!("slow {worker} {task}"),
        Action::Dismiss(worker, Dismissal::Disagreed) => format!("dismiss {worker} disagreed"),
        Action::Dismiss(worker, Dismissal::Unreached) => format!("dismiss {worker} unreached"),
        Action::Dismiss(worker, _) => format!("dismiss {worker}"),
        Action::Stop(failure) => format!("stop: {failure}"),
    }
}

/// Feeds a script, lines `[tTICK] event`, to a plan with a depth of 4, a lease of 100 ms, a grace of 1 s,
/// three attempts, and two objects that cannot be had of one that lives, and compares what it answers to each event that it
/// answers at all.
fn check(script: &str, expected: &str) {
    check_by((100, 0), script, expected);
}

/// As [`check`], with a suspicion before the end of the lease.
fn check_suspecting(suspect_ms: u64, script: &str, expected: &str) {
    check_by((suspect_ms, 0), script, expected);
}

/// As [`check`], with a suspicion after so long, and a share of tasks that are computed twice.
fn check_by((suspect_ms, verify_millionths): (u64, u32), script: &str, expected: &str) {
    let mut plan = Plan::new(Settings {
        depth: 4,
        suspect_ms,
        lease_ms: 100,
        slow_factor: 3,
        verify_millionths,
        grace_ms: 1_000,
        attempts_max: 3,
        unreached_max: 2,
    });
    let mut steps: Vec<Step> = Vec::new();
    let (mut now, mut found) = (0, String::new());
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (time, text) = match line.split_once(' ') {
            Some((time, text)) if time.starts_with('t') && time[1..].parse::<u64>().is_ok() => {
                (number(&time[1..]), text)
            }
            _ => (now, line),
        };
        now = time;
        let writes = |id: TaskId| {
            let step = steps
                .iter()
                .find(|step| step.id == id.step)
                .expect("a submitted step");
            step.tasks[id.index as usize].writes.clone()
        };
        let event = event(text, &writes);
        if let Event::Submit(step) = &event {
            steps.push(step.clone());
        }
        let actions: Vec<String> = plan.on(Tick(now), event).iter().map(show).collect();
        if !actions.is_empty() {
            let head: Vec<&str> = text.split_whitespace().take(3).collect();
            writeln!(found, "{}: {}", head.join(" "), actions.join("; ")).expect("a string");
        }
    }
    let tidy = |text: &str| {
        text.lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(
        tidy(&found),
        tidy(expected),
        "script:\n{script}\nfound:\n{found}"
    );
}

#[test]
fn a_step_is_dealt_reduced_and_freed() {
    check(
        "join w1
         join w2
         step 0 sum: s1>A0.1; s2>A1.1; s3>A2.1; s4>A3.1
         step 1 none: A0-3.1>B0.1; A0-3.1>B1.1; A0-3.1>B2.1; A0-3.1>B3.1 free A0-3.1
         done w1 0.0 1
         done w2 0.2 4
         done w2 0.3 8
         done w1 0.1 2
         done w1 1.0
         done w1 1.1
         done w2 1.2
         done w2 1.3",
        "step 0 sum:: w1[0.0, 0.1]; w2[0.2, 0.3]
         done w1 0.1: step 0 Sum([15.0]); w1[1.0 A2-3.1<w2, 1.1 A2-3.1<w2]; w2[1.2 A0-1.1<w1, 1.3 A0-1.1<w1]
         done w2 1.3: step 1 None; drop w1 A0-3.1; drop w2 A0-3.1",
    );
}

/// A range that several tasks read says nothing of where they should run; one that a task has for itself does.
#[test]
fn a_bundle_runs_where_its_blocks_lie() {
    check(
        "join w1
         join w2
         step 0 none: >A0.1; >A1.1; >A2.1; >A3.1
         step 1 none: A2-3.1>B0.1; A0-1.1>B1.1 free A0-3.1
         done w1 0.0
         done w2 0.2
         done w2 0.3
         done w1 0.1
         done w1 1.1
         done w2 1.0",
        "step 0 none:: w1[0.0, 0.1]; w2[0.2, 0.3]
         done w2 0.3: w2[1.0]
         done w1 0.1: step 0 None; w1[1.1]
         done w2 1.0: step 1 None; drop w1 A0-3.1; drop w2 A0-3.1",
    );
}

/// A checkpoint once filled the queues, and the next epoch began when half of it was stored.
#[test]
fn what_stores_takes_no_place_of_what_computes() {
    check(
        "join w1
         step 0 none: >A0.1; >A1.1; >A2.1; >A3.1; >A4.1; >A5.1
         done w1 0.0
         done w1 0.1
         done w1 0.2
         done w1 0.3
         done w1 0.4
         done w1 0.5
         step 9 stores: A0.1>; A1.1>; A2.1>; A3.1>; A4.1>; A5.1>
         step 1 none: A0-5.1>B0.1; A0-5.1>B1.1
         done w1 9.0
         done w1 1.0
         done w1 9.1",
        "step 0 none:: w1[0.0, 0.1, 0.2, 0.3]
         done w1 0.1: w1[0.4, 0.5]
         done w1 0.5: step 0 None
         step 9 stores:: w1[9.0, 9.1, 9.2, 9.3]
         step 1 none:: w1[1.0, 1.1]
         done w1 9.1: w1[9.4, 9.5]",
    );
}

#[test]
fn long_tasks_go_first_and_inputs_attract() {
    check(
        "join w1
         join w2
         step 0 none: >A0.1 @5; >A1.1 @9; >A2.1 @7
         done w1 0.1
         done w2 0.2
         done w2 0.0
         step 1 none: A0.1>; A1.1>",
        "step 0 none:: w1[0.1]; w2[0.2, 0.0]
         done w2 0.0: step 0 None
         step 1 none:: w1[1.1]; w2[1.0]",
    );
}

#[test]
fn chains_and_orders_hold() {
    check(
        "join w1
         join w2
         step 0 none: >A0.1 ^1; A0.1>A0.2 ^1; >B0.1 &0.1; >C0.1 ^2; >C0.2 ^2
         done w1 0.0
         done w2 0.3
         done w2 0.4
         done w1 0.1",
        "step 0 none:: w1[0.0]; w2[0.3]
         done w1 0.0: w1[0.1]
         done w2 0.3: w2[0.4]
         done w1 0.1: w1[0.2]",
    );
}

#[test]
fn an_idle_worker_gets_what_another_has_not_begun() {
    check(
        "join w1
         step 0 none: >@900000; >@800000; >@700000
         join w2
         returned w1 0.2
         t1 done w1 0.0
         t2 done w2 0.2#1
         t3 done w1 0.1",
        "step 0 none:: w1[0.0, 0.1, 0.2]
         join w2: revoke w1 0.2#0
         returned w1 0.2: w2[0.2#1]
         done w1 0.1: step 0 None",
    );
}

#[test]
fn a_slow_task_gets_a_second_attempt_and_the_first_result_wins() {
    check(
        "join w1
         join w2
         step 0 none: >A0.1 @10; >A1.1 @10; >A2.1 @10; >A3.1 @10
         t10 done w1 0.0
         t20 done w1 0.1
         t30 done w2 0.2
         t31 alive w1
         t60 alive w1
         t60 alive w2
         t90 alive w1
         t500 tick
         t540 alive w1
         t540 alive w2
         t580 alive w1
         t580 alive w2
         t1200 tick
         t1210 done w1 0.3#1
         t1220 done w2 0.3#0",
        "step 0 none:: w1[0.0, 0.1]; w2[0.2, 0.3]
         tick: slow w2 0.3; w1[0.3#1]
         done w1 0.3#1: revoke w2 0.3#0; step 0 None
         done w2 0.3#0: drop w2 A3.1",
    );
}

#[test]
fn what_a_lost_worker_held_is_made_again_or_the_run_rolls_back() {
    check(
        "join w1
         join w2
         durable B0.0
         step 0 none: B0.0>A0.1; >A1.1; >A2.1; >A3.1
         done w1 0.0
         done w1 0.1
         done w2 0.2
         step 1 none: A0-3.1>C0.1 free A0-3.1 B0.0
         lost w1
         done w2 0.3
         done w2 0.1#1
         done w2 0.0#1
         done w2 1.0
         step 2 none: C0.1>D0.1
         lost w2
         lost w2
         free D0.1
         restarted
         join w3
         durable C0.1
         step 2 none: C0.1>D0.1",
        "step 0 none:: w1[0.0 B0.0<depot, 0.1]; w2[0.2, 0.3]
         lost w1: w2[0.0#1 B0.0<depot, 0.1#1]
         done w2 0.3: step 0 None
         done w2 0.0#1: w2[1.0]
         done w2 1.0: step 1 None; drop w2 A0-3.1 B0.0
         step 2 none:: w2[2.0]
         lost w2: roll back C0.1
         step 2 none:: w3[2.0#2 C0.1<depot]",
    );
}

#[test]
fn leases_graces_and_drains() {
    check(
        "join w1
         join w2
         step 0 none: >A0.1 @2; >A1.1 @2; >A2.1; >A3.1
         t40 alive w1
         t80 alive w1
         t101 tick
         t120 drain w1
         t140 done w1 0.0
         t150 returned w1 0.1
         t160 returned w1 0.2
         t170 lost w1
         t1000 tick
         t1171 tick",
        "step 0 none:: w1[0.0, 0.1]; w2[0.2, 0.3]
         tick: dismiss w2; w1[0.2#1, 0.3#1]
         drain w1: revoke w1 0.1#0; revoke w1 0.2#1; revoke w1 0.3#1
         tick: stop: no worker has been there for 1 s: start workers, or check their addresses, and run again to resume",
    );
}

/// What only the silent one holds is made again, its late answer counts, and it is trusted for longer the next time.
#[test]
fn who_is_silent_is_suspected_until_it_speaks() {
    check_suspecting(
        40,
        "join w1
         join w2
         step 0 none: >A0.1; >A1.1; >A2.1; >A3.1
         t1 done w1 0.0
         t2 done w2 0.2
         step 1 none: A0-3.1>B0.1
         t20 alive w1
         t40 alive w1
         t43 tick
         t50 done w1 0.1
         t52 done w1 0.3#1
         t60 done w2 0.3
         t61 done w1 0.2#1
         t80 alive w1
         t100 alive w1
         t102 tick
         t120 alive w1
         t140 alive w1
         t142 tick
         t150 done w1 1.0#1",
        "step 0 none:: w1[0.0, 0.1]; w2[0.2, 0.3]
         tick: suspect w2; w1[0.2#1, 0.3#1]
         done w1 0.3#1: revoke w2 0.3#0; step 0 None
         done w2 0.3: trust w2; drop w2 A3.1; w2[1.0 A0-1.1<w1 A3.1<w1]
         tick: suspect w2; w1[1.0#1]
         done w1 1.0#1: revoke w2 1.0#0; step 1 None",
    );
    // Nobody stands in for the only one.
    check_suspecting(
        40,
        "join w1
         step 0 none: >A0.1
         t41 tick
         join w2
         t60 alive w2
         t62 tick
         t80 alive w2
         t100 alive w2
         t102 tick
         t120 alive w2
         t140 alive w2
         t142 tick",
        "step 0 none:: w1[0.0]
         tick: suspect w1; w2[0.0#1]
         tick: dismiss w1",
    );
}

/// A run that waits for what only the silent one holds, and whose makers' inputs are gone, goes back to its checkpoint.
#[test]
fn what_cannot_be_made_again_without_the_silent_one_is_a_roll_back() {
    check_suspecting(
        40,
        "join w1
         join w2
         step 0 none: >A0.1 @2 ^1; A0.1>A0.2 ^1; >C0.1
         t1 done w1 0.0
         t2 done w1 0.1
         free A0.1
         t20 alive w2
         step 1 none: A0.2>B0.1
         t40 alive w2
         t43 tick
         t44 alive w1",
        "step 0 none:: w1[0.0]; w2[0.2]
         done w1 0.0: w1[0.1]
         free A0.1: drop w1 A0.1; drop w2 A0.1
         step 1 none:: w1[1.0]
         tick: suspect w1; roll back A0.2; revoke w1 1.0#0; revoke w2 0.2#0; drop w1 A0.2 B0.1 C0.1; drop w2 A0.2 B0.1 C0.1
         alive w1: trust w1",
    );
}

/// Of results that differ the third decides; of two nobody knows.
#[test]
fn a_result_counts_when_two_came_to_it() {
    check_by(
        (100, 1_000_000),
        "join w1
         join w2
         join w3
         step 0 sum: >A0.1
         done w1 0.0 7
         done w2 0.0#1 8
         done w3 0.0#2 7
         step 1 sum: A0.1>B0.1
         lost w3
         done w1 1.0 5
         lost w1",
        "step 0 sum:: w1[0.0]
         done w1 0.0: w2[0.0#1]
         done w2 0.0#1: differ 0.0 w1 w2; w3[0.0#2]
         done w3 0.0#2: step 0 Sum([7.0]); dismiss w2 disagreed
         step 1 sum:: w1[1.0]
         done w1 1.0: step 1 Sum([5.0])",
    );
    check_by(
        (100, 1_000_000),
        "join w1
         join w2
         step 0 sum: >A0.1
         done w1 0.0 7
         done w2 0.0#1 8",
        "step 0 sum:: w1[0.0]
         done w1 0.0: w2[0.0#1]
         done w2 0.0#1: stop: the 2 workers that computed task 0.0 came to different results, and which of them is wrong cannot be told: check the memory and the processors of their machines, and run again with three workers or more",
    );
}

#[test]
fn failures_are_tried_elsewhere_and_end_the_run_when_they_must() {
    check(
        "join w1
         join w2
         step 0 none: >A0.1
         failed w1 0.0 exhausted
         failed w2 0.0#1 exhausted
         failed w1 0.0#2 exhausted
         step 1 none: >B0.1",
        "step 0 none:: w1[0.0]
         failed w1 0.0: w2[0.0#1]
         failed w2 0.0#1: w1[0.0#2]
         failed w1 0.0#2: stop: disk full",
    );
    // A disk that is lost, or a process that may open no file, once ended the run at the first task.
    check(
        "join w1
         join w2
         step 0 none: >A0.1
         failed w1 0.0 disk",
        "step 0 none:: w1[0.0]
         failed w1 0.0: w2[0.0#1]",
    );
    check(
        "join w1
         join w2
         step 0 none: >A0.1; >A1.1; >A2.1; >A3.1
         done w1 0.0
         done w1 0.1
         done w2 0.2
         done w2 0.3
         step 1 none: A0-3.1>B0.1
         failed w1 1.0 unreachable A2.1 w2
         done w1 0.2#1
         failed w2 1.0#1 refused",
        "step 0 none:: w1[0.0, 0.1]; w2[0.2, 0.3]
         done w2 0.3: step 0 None
         step 1 none:: w1[1.0 A2-3.1<w2]
         failed w1 1.0: drop w2 A2.1; w1[0.2#1]
         done w1 0.2#1: w2[1.0#1 A0-2.1<w1]
         failed w2 1.0#1: stop: bad row",
    );
}

/// What one worker alone has read may be damaged there; where a second one panics, or none is there, it is our bug.
#[test]
fn a_panic_is_tried_elsewhere_once() {
    check(
        "join w1
         join w2
         step 0 sum: >A0.1
         failed w1 0.0 panicked
         done w2 0.0#1 4",
        "step 0 sum:: w1[0.0]
         failed w1 0.0: w2[0.0#1]
         done w2 0.0#1: step 0 Sum([4.0])",
    );
    check(
        "join w1
         join w2
         step 0 sum: >A0.1
         failed w1 0.0 panicked
         failed w2 0.0#1 panicked",
        "step 0 sum:: w1[0.0]
         failed w1 0.0: w2[0.0#1]
         failed w2 0.0#1: stop: task 0.0 on w2 panicked: row 7 is odd (on w2 as on w1; see with --verify-fraction 1 whether one of the workers computes something else than others)",
    );
    check(
        "join w1
         step 0 sum: >A0.1
         failed w1 0.0 panicked",
        "step 0 sum:: w1[0.0]
         failed w1 0.0: stop: task 0.0 on w1 panicked: row 7 is odd",
    );
    // What our own code does not write, somebody's memory did.
    check(
        "join w1
         join w2
         step 0 sum: >A0.1
         failed w1 0.0 bug
         failed w2 0.0#1 bug",
        "step 0 sum:: w1[0.0]
         failed w1 0.0: w2[0.0#1]
         failed w2 0.0#1: stop: a run of ids ends early (on w2 as on w1; see with --verify-fraction 1 whether one of the workers computes something else than others)",
    );
    // It is there again, and nobody else.
    check(
        "join w1
         join w2
         step 0 sum: >A0.1
         failed w1 0.0 panicked
         lost w2
         failed w1 0.0#2 panicked",
        "step 0 sum:: w1[0.0]
         failed w1 0.0: w2[0.0#1]
         lost w2: w1[0.0#2]
         failed w1 0.0#2: stop: task 0.0 on w1 panicked: row 7 is odd",
    );
    // A chain goes on where its task was done.
    check(
        "join w1
         join w2
         step 0 none: >A0.1 ^0; A0.1>A0.2 ^0
         failed w1 0.0 panicked
         done w2 0.0#1
         done w2 0.1",
        "step 0 none:: w1[0.0]
         failed w1 0.0: w2[0.0#1]
         done w2 0.0#1: w2[0.1]
         done w2 0.1: step 0 None",
    );
}

/// Where two came to the same, who panicked came to something else.
#[test]
fn a_panic_is_a_result_that_differs() {
    check_by(
        (100, 1_000_000),
        "join w1
         join w2
         join w3
         step 0 sum: >A0.1
         failed w1 0.0 panicked
         done w2 0.0#1 7
         done w3 0.0#2 7",
        "step 0 sum:: w1[0.0]
         failed w1 0.0: w2[0.0#1]
         done w2 0.0#1: w3[0.0#2]
         done w3 0.0#2: step 0 Sum([7.0]); dismiss w1 disagreed",
    );
    // Nobody is there to compare with but who panicked.
    check_by(
        (100, 1_000_000),
        "join w1
         join w2
         step 0 sum: >A0.1
         failed w1 0.0 panicked
         done w2 0.0#1 7",
        "step 0 sum:: w1[0.0]
         failed w1 0.0: w2[0.0#1]
         done w2 0.0#1: step 0 Sum([7.0])",
    );
}

#[test]
fn one_that_lives_but_is_not_reached_is_as_good_as_lost() {
    check(
        "join w1
         join w2
         step 0 none: >A0.1; >A1.1; >A2.1; >A3.1; >A4.1; >A5.1; >A6.1; >A7.1
         done w1 0.0
         done w1 0.1
         done w1 0.2
         done w1 0.3
         done w2 0.4
         done w2 0.5
         done w2 0.6
         done w2 0.7
         step 1 none: A0-3.1 A4.1>B0.1; A0-3.1 A5.1>B1.1; A0-3.1 A6.1>B2.1
         failed w1 1.1 unreachable A5.1 w2
         failed w1 1.2 unreachable A6.1 w2",
        "step 0 none:: w1[0.0, 0.1, 0.2, 0.3]; w2[0.4, 0.5, 0.6, 0.7]
         done w2 0.7: step 0 None
         step 1 none:: w1[1.2 A6.1<w2, 1.1 A5.1<w2]; w2[1.0 A0-3.1<w1]
         failed w1 1.1: drop w2 A5.1; w1[0.5#1]
         failed w1 1.2: dismiss w2 unreached; w1[0.4#2, 0.6#2]",
    );
}

#[test]
fn results_of_before_a_restart_are_refused() {
    check(
        "join w1
         step 0 none: >A0.1
         restarted
         step 0 none: >A0.1
         done w1 0.0#0
         done w1 0.0#1",
        "step 0 none:: w1[0.0]
         restarted: revoke w1 0.0#0; drop w1 A0.1
         step 0 none:: w1[0.0#1]
         done w1 0.0#1: step 0 None",
    );
}

#[test]
fn a_read_that_nothing_writes_is_a_bug_and_no_hang() {
    check(
        "join w1\n step 0 none: A0.1>B0.1",
        "step 0 none:: stop: step 0 (script) reads t0b0v1, which nothing has written and no earlier task writes: please report this",
    );
}
