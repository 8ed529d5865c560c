//! Newcomers as views: what is shown, what stays hidden and what others have make the whole; either orientation holds the same; and the first
//! columns are those of the first bins.

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray};
use model::cold::{Chosen, Draw, DrawOp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tables::BuildViews;
use tensor::newcomers::Kept;
use tensor::{Mode, SplitPart, ViewSpec};
use tests::ingested::{DAY, Ingested, Input, ingest, inputs, parquet_of, some_rows, spec};

const SEED: u64 = 5;
const SHOWN: u32 = 4;

type Rows = BTreeMap<(u32, u32, u32), f32>;

fn purchases() -> Vec<Input> {
    let rows = some_rows(6000, 3);
    let users: Int64Array = rows.iter().map(|row| Some(row.user)).collect();
    let products = rows.iter().map(|row| Some(format!("p{}", row.product)));
    let products: StringArray = products.collect();
    let days = rows.iter().map(|row| Some((row.seconds / DAY) as i32));
    let days: Date32Array = days.collect();
    let values: Float64Array = rows.iter().map(|row| Some(row.value)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("u", Arc::new(users)),
        ("p", Arc::new(products)),
        ("t", Arc::new(days)),
        ("v", Arc::new(values)),
    ];
    inputs(&[parquet_of(columns, 700)])
}

fn drawn(found: &mut Ingested, mode: Mode, share: f64, most: u64) -> Chosen {
    let (grid, partitions) = match mode {
        Mode::User => (&found.data.user.grid, &found.data.parts[0].1.user_major),
        _ => (
            &found.data.product.grid,
            &found.data.parts[0].1.product_major,
        ),
    };
    let op = DrawOp {
        mode,
        stride_log2: grid.stride_log2,
        below: (share * 2.0_f64.powi(64)) as u64,
        shown: SHOWN,
        seed: SEED,
    };
    let mut program = Draw::new(op, partitions.clone(), most);
    found.world.run(&mut program, &exec::begin).unwrap();
    program.into_chosen()
}

fn views(found: &mut Ingested, mode: Mode, chosen: &Chosen, wanted: &[(u32, Kept)]) -> Vec<Rows> {
    let of = |&(shown, kept): &(u32, Kept)| ViewSpec {
        newcomers: Some(chosen.shown(mode, SEED, shown, kept)),
        ..ViewSpec::whole(SplitPart::Train)
    };
    let specs = wanted.iter().map(of).collect();
    let mut program = BuildViews::new(found.data.clone(), specs);
    found.world.run(&mut program, &exec::begin).unwrap();
    let views = program.into_views().unwrap();
    // Rows are read of both orientations, which must agree.
    views
        .iter()
        .map(|view| found.rows(&view.partitions))
        .collect()
}

#[test]
fn what_is_shown_what_is_hidden_and_what_others_have_make_the_whole() {
    let files = purchases();
    let mut found = ingest(&files, &spec());
    let all = found.rows(&found.data.parts[0].1.clone());
    for mode in [Mode::User, Mode::Product] {
        let chosen = drawn(&mut found, mode, 0.3, 1000);
        assert!(chosen.count() >= 5, "{mode}: {}", chosen.count());
        let limits = chosen.shown(mode, SEED, 0, Kept::First).limits;
        let newcomers: BTreeSet<u32> = limits.iter().map(|(row, _)| *row).collect();
        assert_eq!(newcomers.len() as u64, chosen.count());
        let key = |&(user, product, bin): &(u32, u32, u32)| {
            if mode == Mode::User {
                (user, product, bin)
            } else {
                (product, user, bin)
            }
        };
        let wanted = [
            (0, Kept::Before),
            (SHOWN, Kept::Before),
            (SHOWN, Kept::First),
            (SHOWN, Kept::Later),
            (2, Kept::First),
        ];
        let [none, before, first, later, two] = views(&mut found, mode, &chosen, &wanted)
            .try_into()
            .unwrap();
        assert!(none.keys().all(|at| !newcomers.contains(&key(at).0)));
        let others = all.keys().filter(|at| !newcomers.contains(&key(at).0));
        assert_eq!(others.count(), none.len());
        let mut joined = none.clone();
        joined.extend(first.clone());
        assert_eq!(joined, before);
        assert_eq!(before.len() + later.len(), all.len());
        joined.extend(later.clone());
        assert_eq!(joined, all);
        assert!(two.keys().all(|at| first.contains_key(at)));
        for row in newcomers {
            let of = |rows: &Rows| -> BTreeMap<u32, u32> {
                let mut firsts: BTreeMap<u32, u32> = BTreeMap::new();
                for at in rows.keys().map(key).filter(|at| at.0 == row) {
                    let first = firsts.entry(at.1).or_insert(at.2);
                    *first = at.2.min(*first);
                }
                firsts
            };
            let (shown, hidden) = (of(&first), of(&later));
            assert_eq!((shown.len(), of(&two).len()), (SHOWN as usize, 2));
            let last = shown.values().max().unwrap();
            // What only comes later is of no earlier bin.
            let only_later = hidden
                .iter()
                .filter(|(column, _)| !shown.contains_key(column));
            assert!(only_later.clone().count() > 0);
            assert!(only_later.into_iter().all(|(_, bin)| bin >= last));
        }
    }
}

#[test]
fn a_draw_is_of_the_row_and_the_most_are_the_lowest_draws() {
    let files = purchases();
    let mut found = ingest(&files, &spec());
    let rows = |chosen: &Chosen| -> Vec<u32> {
        let limits = chosen.shown(Mode::User, SEED, 1, Kept::First).limits;
        limits.into_iter().map(|(row, _)| row).collect()
    };
    let few = rows(&drawn(&mut found, Mode::User, 0.2, 1000));
    let many = rows(&drawn(&mut found, Mode::User, 0.6, 1000));
    assert!(few.len() < many.len() && few.iter().all(|row| many.contains(row)));
    let most = few.len() as u64;
    assert_eq!(rows(&drawn(&mut found, Mode::User, 0.6, most)), few);
}
