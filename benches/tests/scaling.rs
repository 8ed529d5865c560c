//! The simulated cluster against laws that hold for any: small shapes, seconds each.

use benches::scaling::shape::{Shape, Spread};
use benches::scaling::{Costs, Course, Machine, Trouble, run};

/// A link that is never in the way.
const WIDE: f64 = 1e9;

fn costs(wide: bool) -> Costs {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/costs.json")).unwrap();
    let mut costs = Costs::parse(&text).unwrap();
    if wide {
        costs.transport_gbytes.value = WIDE;
        costs.round_trip_us.value = 1e-6;
        costs.worker_task_us.value = 1e-6;
        costs.coordinator_task_us.value = 1e-6;
    }
    costs
}

fn machine(wide: bool) -> Machine {
    Machine {
        threads: 4,
        memory_bytes: 8 << 30,
        page_cache_bytes: 8 << 30,
        network_gbytes: if wide { WIDE } else { 1.25 },
    }
}

fn shape(bins: u32) -> Shape {
    Shape {
        name: "small".to_owned(),
        title: "a small shape".to_owned(),
        users: 200_000,
        products: 50_000,
        interactions: 20_000_000,
        bins,
        implicit: true,
        rank: 32,
        solver: "cholesky".to_owned(),
        entry_bytes: 8,
        user_spread: Spread::LogNormal(1.0),
        product_spread: Spread::Zipf(1.0),
    }
}

fn course(workers: u32, bins: u32, wide: bool, trouble: Trouble) -> Course {
    run(&shape(bins), machine(wide), workers, trouble, &costs(wide)).unwrap()
}

fn calm(workers: u32, wide: bool) -> Course {
    course(workers, 0, wide, Trouble::default())
}

#[test]
fn one_worker_takes_the_sum_of_its_tasks_and_pulls_nothing() {
    let one = calm(1, true);
    assert!((one.speed_up() - 1.0).abs() < 1e-3, "{one:?}");
    assert_eq!((one.traffic, one.again), (0, 0));
}

#[test]
fn without_a_network_in_the_way_two_workers_are_never_slower_than_one() {
    let courses: Vec<Course> = [1, 2, 4, 8].map(|workers| calm(workers, true)).into();
    for pair in courses.windows(2) {
        assert!(pair[1].epoch_seconds <= pair[0].epoch_seconds, "{pair:?}");
        assert!((pair[1].work_seconds / pair[0].work_seconds - 1.0).abs() < 1e-6);
    }
    assert!(courses[1].speed_up() > 1.8, "{:?}", courses[1]);
}

#[test]
fn every_worker_pulls_what_the_others_hold_of_both_tables() {
    for workers in [2, 4] {
        let found = calm(workers, false);
        let tables = 250_000 * 4 * 32;
        let least = u64::from(workers - 1) * tables;
        // Grams and their sums come on top, and what moved between workers.
        let ratio = found.traffic as f64 / least as f64;
        assert!((0.97..1.1).contains(&ratio), "{workers}: {ratio} {found:?}");
    }
}

#[test]
fn trouble_costs_time_and_a_course_is_the_same_each_time() {
    let trouble = Trouble {
        slow_share: 0.25,
        slow_factor: 2.0,
        hiccup_every: 50,
        hiccup_factor: 10.0,
    };
    let (plain, slowed) = (
        course(4, 30, false, Trouble::default()),
        course(4, 30, false, trouble),
    );
    assert!(slowed.epoch_seconds > plain.epoch_seconds);
    assert_eq!(slowed, course(4, 30, false, trouble));
}

#[test]
fn memory_that_is_too_small_for_a_table_pulls_rows_in_pieces() {
    let small = Machine {
        memory_bytes: 1 << 28,
        ..machine(false)
    };
    let many = Shape {
        users: 2_000_000,
        ..shape(0)
    };
    let of = |machine| run(&many, machine, 4, Trouble::default(), &costs(false)).unwrap();
    let (whole, rows) = (of(machine(false)), of(small));
    assert!(
        rows.traffic > 2 * whole.traffic,
        "{} {}",
        rows.traffic,
        whole.traffic
    );
}

#[test]
fn figures_that_are_missing_or_bad_are_named() {
    let refused = |text: &str| Costs::parse(text).unwrap_err();
    assert!(refused("{}").contains("measured_on"));
    let mut bad = costs(false);
    bad.disk_gbytes.value = 0.0;
    let sentence = refused(&serde_json::to_string(&bad).unwrap());
    assert_eq!(sentence, "`disk_gbytes` is 0: give a number above 0");
    let odd = Shape {
        rank: 48,
        ..shape(0)
    };
    let sentence = run(&odd, machine(false), 1, Trouble::default(), &costs(false)).unwrap_err();
    assert_eq!(
        sentence,
        "the costs have no figures of `cholesky` at rank 48: measure them, and add them to `solves`"
    );
}
