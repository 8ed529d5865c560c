//! Side information from tables to factors: the words of blocks against the tables, the objective against its definition,
//! one digest whatever computes it, and what is refused.

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray};
use bytes::Bytes;
use kernels::Simd;
use model::als::{Als, Input, Preset, Settings, Solver};
use model::{Holds, TableVersion};
use std::collections::BTreeMap;
use std::sync::Arc;
use tables::{AttributeSpec, AttributeSurvey, IngestAttributes, OnBadRow, ScanSpec};
use tensor::attributes::MISSING;
use tensor::{AttributeKind, Attributes, Axis, IdKind, Mode, News, Partitions, SplitPart, TimeBin};
use tests::ingested::{Ingested, Row, ingest, inputs, parquet_of, some_rows};
use tests::jobs::{Data, Inputs, Job};
use tests::process::{Daemon, addresses, examples, json_of};

const USERS: Mode = Mode::User;
const PRODUCTS: Mode = Mode::Product;

fn interactions(rows: &[Row]) -> Bytes {
    let ids = |of: fn(&Row) -> i64| Arc::new(rows.iter().map(of).collect::<Int64Array>());
    let values: Float64Array = rows.iter().map(|row| 1.0 + row.value).collect();
    parquet_of(
        vec![
            ("u", ids(|row| row.user)),
            ("p", ids(|row| row.product)),
            ("v", Arc::new(values)),
        ],
        500,
    )
}

/// Two files: what is only in the second is not trained on, so its users and products are cold.
fn data() -> Ingested {
    let rows = some_rows(3000, 5);
    let (held, train): (Vec<Row>, Vec<Row>) = rows
        .into_iter()
        .partition(|row| row.user % 17 == 0 || row.product % 23 == 0);
    let spec = ScanSpec {
        time: None,
        time_bin: TimeBin::None,
        parts: vec![SplitPart::Train, SplitPart::Test],
        ..tests::ingested::spec()
    };
    ingest(&inputs(&[interactions(&train), interactions(&held)]), &spec)
}

/// What the table says of an id: an age, a town, a code; each missing for some, and nothing at all said of others.
type Known = (Option<f64>, Option<String>, Option<i32>);

fn known(id: i64) -> Known {
    let age = (id % 3 != 0).then_some(20.0 + (id % 7) as f64);
    let town = (id % 4 != 0).then(|| format!("town-{}", (id * id) % 6));
    let code = (id % 5 != 0).then_some((id % 9) as i32);
    match id.rem_euclid(6) {
        5 => (None, None, None),
        1 | 2 => (
            age.or(Some(33.0)),
            town.or(Some("town-0".into())),
            code.or(Some(4)),
        ),
        _ => (age, town, code),
    }
}

fn table(ids: &[i64], known: impl Fn(i64) -> Known) -> Bytes {
    let each: Vec<Known> = ids.iter().map(|&id| known(id)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(ids.to_vec()))),
        (
            "age",
            Arc::new(each.iter().map(|k| k.0).collect::<Float64Array>()),
        ),
        (
            "town",
            Arc::new(each.iter().map(|k| k.1.clone()).collect::<StringArray>()),
        ),
        (
            "code",
            Arc::new(each.iter().map(|k| k.2).collect::<Int32Array>()),
        ),
    ];
    parquet_of(columns, 40)
}

fn spec(mode: Mode) -> AttributeSpec {
    AttributeSpec {
        mode,
        id: "id".into(),
        columns: Vec::new(),
        categorical: vec!["code".into()],
        max_levels: 4,
        max_columns: 512,
        on_bad_row: OnBadRow::Reject,
    }
}

fn try_add(data: &mut Ingested, files: &[(Bytes, AttributeSpec)]) -> Result<(), String> {
    let mut surveys = Vec::new();
    data.world.inputs.clear();
    for (bytes, spec) in files {
        let named = inputs(std::slice::from_ref(bytes));
        let first = data.world.inputs.len() as u32;
        let survey = AttributeSurvey::of(&named, first, spec.clone(), IdKind::Int64, 1 << 30);
        surveys.push(survey.map_err(|error| error.to_string())?);
        data.world
            .inputs
            .extend(named.into_iter().map(|(_, file)| file));
    }
    let mut program = IngestAttributes::new(data.data.clone(), surveys);
    let ran = data.world.run(&mut program, &exec::begin);
    ran.map_err(|error| error.to_string())?;
    data.data = program.into_data_set().expect("it is finished");
    Ok(())
}

fn ids(from: i64, to: i64) -> Vec<i64> {
    (from..to).collect()
}

fn with_attributes() -> Ingested {
    let mut data = data();
    let users = (table(&ids(-60, 200), known), spec(USERS));
    let products = (table(&ids(-5, 60), known), spec(PRODUCTS));
    try_add(&mut data, &[users, products]).unwrap();
    data
}

/// The words of every row of a mode.
fn words(data: &Ingested, axis: &Axis, attributes: &Attributes) -> BTreeMap<u32, Vec<u32>> {
    let mut all = BTreeMap::new();
    for (block, sealed) in axis.grid.block_ids().zip(&attributes.blocks) {
        let file = &data.world.sealed[&sealed.digest];
        let section = file.section(0..file.len()).unwrap();
        let words = section
            .typed::<u32>()
            .chunks_exact(attributes.attributes.len());
        all.extend(axis.grid.row_ids(block).zip(words.map(<[u32]>::to_vec)));
    }
    all
}

#[test]
fn words_are_those_of_the_tables() {
    let data = with_attributes();
    for (mode, axis, range) in [
        (USERS, &data.data.user, -60..200),
        (PRODUCTS, &data.data.product, -5..60),
    ] {
        let attributes = &data.data.attributes[&mode];
        let names: Vec<&str> = attributes
            .attributes
            .iter()
            .map(|a| a.name.as_str())
            .collect();
        assert_eq!(names, ["age", "town", "code"]);
        let ages: Vec<f64> = range.clone().filter_map(|id| known(id).0).collect();
        let mean = ages.iter().sum::<f64>() / ages.len() as f64;
        let variance = ages.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / ages.len() as f64;
        let count = |of: &dyn Fn(i64) -> Option<String>| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            range
                .clone()
                .filter_map(of)
                .for_each(|name| *counts.entry(name).or_default() += 1);
            let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
            counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            counts
                .into_iter()
                .map(|(name, _)| name)
                .take(4)
                .collect::<Vec<_>>()
        };
        let towns = count(&|id| known(id).1);
        let codes = count(&|id| known(id).2.map(|code| code.to_string()));
        for (place, expected) in [(1, &towns), (2, &codes)] {
            let AttributeKind::Levels { levels, others } = &attributes.attributes[place].kind
            else {
                panic!("names");
            };
            assert_eq!(levels, expected);
            // Towns of users are those of squares modulo 6: four of them.
            assert_eq!(*others, place == 2);
        }
        let names = data.ids(axis);
        let mut described = 0;
        for (row, words) in words(&data, axis, attributes) {
            let id: i64 = names[&row].parse().unwrap();
            if !range.contains(&id) {
                assert_eq!(words, [MISSING; 3]);
                continue;
            }
            described += 1;
            let (age, town, code) = known(id);
            match age {
                None => assert_eq!(words[0], MISSING),
                Some(age) => {
                    let expected = (age - mean) / variance.sqrt();
                    assert!((f64::from(f32::from_bits(words[0])) - expected).abs() < 1e-5);
                }
            }
            let place = |levels: &[String], name: String| {
                let found = levels.iter().position(|level| *level == name);
                found.map_or(4, |place| place as u32)
            };
            assert_eq!(words[1], town.map_or(MISSING, |name| place(&towns, name)));
            let code = code.map(|code| place(&codes, code.to_string()));
            assert_eq!(words[2], code.unwrap_or(MISSING));
        }
        assert_eq!(attributes.described, described);
        assert_eq!(attributes.unknown, range.count() as u64 - described);
    }
}

fn settings(preset: Preset, solver: Solver) -> Settings {
    Settings {
        rank: 6,
        epochs: 5,
        preset,
        solver,
        regularization: if preset == Preset::Explicit {
            0.1
        } else {
            0.02
        },
        nu: 0.5,
        user_attribute_weight: 2.0,
        product_attribute_weight: 0.7,
        attribute_regularization: 0.05,
        ..Settings::default()
    }
}

fn train_part(data: &Ingested) -> &Partitions {
    let found = data
        .data
        .parts
        .iter()
        .find(|(part, _)| *part == SplitPart::Train);
    &found.expect("a training part").1
}

struct Trained {
    tables: Vec<(TableVersion, Vec<f32>)>,
    objectives: Vec<f64>,
}

fn train(data: &mut Ingested, settings: &Settings) -> Result<Trained, String> {
    let input = Input {
        user: data.data.user.grid.clone(),
        product: data.data.product.grid.clone(),
        small: tensor::Small::default(),
        train: train_part(data).clone(),
        decay: None,
        folds: None,
        attributes: data.data.attributes.clone(),
        edges: BTreeMap::new(),
        given: BTreeMap::new(),
    };
    let mut program = Als::new(settings.clone(), input).map_err(|error| error.to_string())?;
    data.world.objects.clear();
    data.world.news.clear();
    let ran = data.world.run(&mut program, &exec::begin);
    ran.map_err(|error| error.to_string())?;
    let rows = |table: TableVersion| {
        let bytes = data.world.bytes_of(table.keys());
        let floats = bytes.chunks_exact(4);
        let floats = floats.map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let floats = floats.collect();
        (table, floats)
    };
    let objectives = data.world.news.iter();
    let objectives = objectives.map(|News::Epoch { objective, .. }| objective.unwrap());
    Ok(Trained {
        objectives: objectives.collect(),
        tables: program.tables().into_iter().map(rows).collect(),
    })
}

impl Trained {
    /// The rows of a table by row id, as far as the rank.
    fn rows(&self, mode: Mode, holds: Holds) -> BTreeMap<u32, Vec<f64>> {
        let (table, floats) = self
            .tables
            .iter()
            .find(|(table, _)| table.mode == mode && table.holds == holds)
            .expect("a table");
        let ids = table
            .grid
            .block_ids()
            .flat_map(|block| table.grid.row_ids(block));
        let rows = floats.chunks_exact(table.width as usize);
        let rows = rows.map(|row| {
            row[..table.rank as usize]
                .iter()
                .map(|&x| f64::from(x))
                .collect()
        });
        ids.zip(rows).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The loss of the side information of a mode, over the rows with interactions.
fn side_loss(
    data: &Ingested,
    axis: &Axis,
    attributes: &Attributes,
    factors: &BTreeMap<u32, Vec<f64>>,
    maps: &BTreeMap<u32, Vec<f64>>,
    counts: &BTreeMap<u32, u64>,
) -> f64 {
    let mut loss = 0.0;
    for (row, words) in words(data, axis, attributes) {
        if !counts.contains_key(&row) {
            continue;
        }
        let mut start = 0;
        for (attribute, &word) in attributes.attributes.iter().zip(&words) {
            for column in 0..attribute.columns() as u32 {
                let x = match attribute.kind {
                    AttributeKind::Number { .. } => f64::from(f32::from_bits(word)),
                    AttributeKind::Levels { .. } => f64::from(u8::from(word == column)),
                };
                let map = &maps[&(start + column)];
                if word != MISSING {
                    loss += (dot(map, &factors[&row]) - x).powi(2) + 0.05 * dot(map, map);
                }
            }
            start += attribute.columns() as u32;
        }
    }
    loss
}

/// The column of a mode's own biases.
fn own(settings: &Settings, mode: Mode) -> usize {
    settings.rank as usize + usize::from(mode == PRODUCTS)
}

/// What the attributes of each row come to by the linear terms, and what holds these.
fn linear_loss(
    data: &Ingested,
    axis: &Axis,
    mode: Mode,
    (settings, trained): (&Settings, &Trained),
    counts: &BTreeMap<u32, u64>,
    lambda: &dyn Fn(u64) -> f64,
) -> f64 {
    let (attributes, terms) = (
        &data.data.attributes[&mode],
        trained.rows(mode, Holds::Terms),
    );
    let rows = trained.rows(mode, Holds::Factors);
    let own = own(settings, mode);
    let words = words(data, axis, attributes);
    let mut loss = 0.0;
    for (row, &count) in counts {
        let (mut told, mut ridge) = (0.0, 0.0);
        let mut start = 0;
        for (attribute, &word) in attributes.attributes.iter().zip(&words[row]) {
            for column in 0..attribute.columns() as u32 {
                let term = terms[&(start + column)][0];
                match attribute.kind {
                    _ if word == MISSING => continue,
                    AttributeKind::Number { .. } => told += term * f64::from(f32::from_bits(word)),
                    AttributeKind::Levels { .. } if word == column => told += term,
                    AttributeKind::Levels { .. } => {}
                }
                ridge += 0.05 * term * term;
            }
            start += attribute.columns() as u32;
        }
        loss += lambda(count) * ((rows[row][own] - told).powi(2) + ridge);
    }
    loss
}

/// The objective by its definition: rows without interactions take no part in it.
fn objective(data: &Ingested, settings: &Settings, trained: &Trained) -> f64 {
    let alpha0 = settings.alpha0();
    let (users, products) = (
        trained.rows(USERS, Holds::Factors),
        trained.rows(PRODUCTS, Holds::Factors),
    );
    let mut counts = [BTreeMap::new(), BTreeMap::new()];
    let mut sum = 0.0;
    for ((user, product, _), value) in data.rows(train_part(data)) {
        *counts[0].entry(user).or_insert(0) += 1;
        *counts[1].entry(product).or_insert(0) += 1;
        let (x, y) = (dot(&users[&user], &products[&product]), f64::from(value));
        sum += match settings.preset {
            Preset::Explicit => (y - x).powi(2),
            Preset::Full => y * y - 2.0 * x * y,
            Preset::Rendle => (1.0 - x).powi(2),
            Preset::Hu => (alpha0 + settings.alpha * y) * (1.0 - x).powi(2) - alpha0 * x * x,
        };
    }
    for user in counts[0].keys() {
        for product in counts[1].keys() {
            sum += alpha0 * dot(&users[user], &products[product]).powi(2);
        }
    }
    for (mode, axis, rows, counts, others) in [
        (USERS, &data.data.user, &users, &counts[0], products.len()),
        (
            PRODUCTS,
            &data.data.product,
            &products,
            &counts[1],
            users.len(),
        ),
    ] {
        let lambda = |count: u64| {
            let size = count as f64 + alpha0 * others as f64;
            settings.regularization * size.powf(settings.nu)
        };
        if settings.linear_attributes {
            sum += linear_loss(data, axis, mode, (settings, trained), counts, &lambda);
        }
        for (row, &count) in counts {
            // The column of the others' biases is not regularized; that of the own ones is where it has linear terms.
            let beside = match (settings.biases, settings.linear_attributes) {
                (false, _) => 0.0,
                (true, false) => 1.0,
                (true, true) => 1.0 + rows[row][own(settings, mode)].powi(2),
            };
            sum += lambda(count) * (dot(&rows[row], &rows[row]) - beside);
        }
    }
    for (mode, axis, factors, counts) in [
        (USERS, &data.data.user, &users, &counts[0]),
        (PRODUCTS, &data.data.product, &products, &counts[1]),
    ] {
        if settings.attribute_weight(mode) == 0.0 {
            continue;
        }
        let maps = trained.rows(mode, Holds::Maps);
        let attributes = &data.data.attributes[&mode];
        sum += settings.attribute_weight(mode)
            * side_loss(data, axis, attributes, factors, &maps, counts);
    }
    sum
}

#[test]
fn the_objective_is_that_of_its_definition_and_falls() {
    let mut data = with_attributes();
    let solvers = [
        Solver::Cholesky,
        Solver::Auto,
        Solver::Dual,
        Solver::Cg,
        Solver::Subspace,
    ];
    let presets = [Preset::Hu, Preset::Explicit, Preset::Rendle];
    let mut courses: Vec<Settings> = presets
        .into_iter()
        .flat_map(|preset| solvers.map(|solver| settings(preset, solver)))
        .collect();
    courses.push(settings(Preset::Full, Solver::Cholesky));
    courses.push(Settings {
        non_negative: true,
        ..settings(Preset::Hu, Solver::Cholesky)
    });
    let linear = |settings: Settings| Settings {
        biases: true,
        linear_attributes: true,
        ..settings
    };
    let plain: Vec<Settings> = courses.clone();
    courses.extend(plain.into_iter().map(linear));
    for preset in presets {
        courses.push(Settings {
            user_attribute_weight: 0.0,
            product_attribute_weight: 0.0,
            ..linear(settings(preset, Solver::Auto))
        });
    }
    for settings in courses {
        let trained = train(&mut data, &settings).unwrap();
        let naive = objective(&data, &settings, &trained);
        let last = *trained.objectives.last().unwrap();
        assert!(
            (last - naive).abs() <= 1e-6 * naive,
            "{settings:?}: {last} is not {naive}"
        );
        for pair in trained.objectives.windows(2) {
            assert!(pair[1] <= pair[0] * (1.0 + 1e-6), "{settings:?}: {pair:?}");
        }
        if settings.non_negative {
            let factors = trained.rows(USERS, Holds::Factors);
            assert!(factors.values().flatten().all(|&x| x >= 0.0));
        }
    }
}

#[test]
fn rows_without_interactions_have_the_factors_of_their_attributes() {
    let mut data = with_attributes();
    let trained = train(&mut data, &settings(Preset::Hu, Solver::Cholesky)).unwrap();
    let warm: Vec<u32> = data
        .rows(train_part(&data))
        .keys()
        .map(|key| key.0)
        .collect();
    let words = words(&data, &data.data.user, &data.data.attributes[&USERS]);
    let (mut told, mut silent) = (0, 0);
    for (row, factors) in trained.rows(USERS, Holds::Factors) {
        if !warm.contains(&row) {
            let known = words[&row].iter().any(|&word| word != MISSING);
            assert_eq!(factors.iter().any(|&x| x != 0.0), known, "row {row}");
            told += u32::from(known);
            silent += u32::from(!known);
        }
    }
    assert!(told > 1 && silent > 0, "{told} {silent}");
}

/// Ratings that a product's town explains: those of products that training never saw are told by it, through the bias.
#[test]
fn cold_rows_are_scored_by_linear_terms() {
    let effect = |product: i64| [0.5, 1.5, 3.0, 4.5][(product % 4) as usize];
    let pairs = (0..60).flat_map(|user| (0..80).map(move |product| (user, product)));
    let pairs = pairs.filter(|(user, product)| (user * 7 + product * 3) % 5 < 2);
    let rating = |(user, product): (i64, i64)| Row {
        user,
        product,
        seconds: 0,
        value: effect(product) - 1.0 + 0.25 * (user % 5) as f64,
    };
    let (held, train_rows): (Vec<Row>, Vec<Row>) =
        pairs.map(rating).partition(|row| row.product % 9 == 5);
    let spec = ScanSpec {
        time: None,
        time_bin: TimeBin::None,
        parts: vec![SplitPart::Train, SplitPart::Test],
        ..tests::ingested::spec()
    };
    let files = [interactions(&train_rows), interactions(&held)];
    let mut data = ingest(&inputs(&files), &spec);
    let towns = table(&ids(0, 80), |id| (None, Some(format!("{}", id % 4)), None));
    let of_towns = AttributeSpec {
        columns: vec!["town".into()],
        categorical: Vec::new(),
        ..self::spec(PRODUCTS)
    };
    try_add(&mut data, &[(towns, of_towns)]).unwrap();
    let mut error = |linear_attributes: bool| {
        let settings = Settings {
            rank: 2,
            epochs: 10,
            preset: Preset::Explicit,
            regularization: 0.05,
            biases: true,
            linear_attributes,
            ..Settings::default()
        };
        let trained = train(&mut data, &settings).unwrap();
        let (users, products) = (
            trained.rows(USERS, Holds::Factors),
            trained.rows(PRODUCTS, Holds::Factors),
        );
        let part = data.data.parts.iter();
        let mut part = part.filter(|(part, _)| *part == SplitPart::Test);
        let held = data.rows(&part.next().expect("a test part").1);
        let errors: Vec<f64> = held
            .into_iter()
            .map(|((user, product, _), y)| dot(&users[&user], &products[&product]) - f64::from(y))
            .collect();
        (errors.iter().map(|x| x * x).sum::<f64>() / errors.len() as f64).sqrt()
    };
    let (with, without) = (error(true), error(false));
    assert!(with < 0.3 && without > 1.0, "{with} {without}");
}

#[test]
fn nothing_that_must_not_matter_changes_a_bit() {
    let mut data = with_attributes();
    for solver in [Solver::Cholesky, Solver::Auto] {
        let linear = solver == Solver::Auto;
        let settings = Settings {
            biases: linear,
            linear_attributes: linear,
            ..settings(Preset::Hu, solver)
        };
        let bits = |trained: &Trained| -> Vec<u32> {
            let floats = trained.tables.iter().flat_map(|(_, floats)| floats);
            floats.map(|x| x.to_bits()).collect()
        };
        data.world.room.budget_bytes = 1 << 30;
        let expected = train(&mut data, &settings).unwrap();
        let tight = (0..).map(|step| 400_000 + 50_000 * step);
        let tight = tight.into_iter().find(|&budget| {
            data.world.room.budget_bytes = budget;
            train(&mut data, &settings).is_ok()
        });
        for (threads, simd, backwards) in [(1, Simd::PORTABLE, true), (4, Simd::detect(), false)] {
            for budget in [tight.unwrap(), 1 << 30] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                data.world.room.pool = Arc::new(pool.build().unwrap());
                data.world.room.budget_bytes = budget.max(threads as u64 * 600_000);
                data.world.room.simd = simd;
                data.world.backwards = backwards;
                let other = train(&mut data, &settings).unwrap();
                assert_eq!(
                    bits(&other),
                    bits(&expected),
                    "{solver:?} {threads} {simd} {budget}"
                );
                assert_eq!(other.objectives, expected.objectives);
            }
        }
    }
}

#[test]
fn what_tables_may_not_hold_is_named() {
    let mut data = data();
    let mut check = |bytes: Bytes, spec: AttributeSpec, expected: &str| {
        let refused = try_add(&mut data, &[(bytes, spec)]).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    };
    let twice = [ids(0, 60), ids(7, 8)].concat();
    check(
        table(&twice, known),
        spec(PRODUCTS),
        "file-0.parquet, row 60 (from 0): column `id` has 7 a second time: keep one row of attributes an id",
    );
    check(
        table(&ids(0, 60), |id| {
            (Some(if id == 50 { f64::INFINITY } else { 1.0 }), None, None)
        }),
        spec(PRODUCTS),
        "file-0.parquet, row 50 (from 0): column `age` is infinite: correct it",
    );
    check(
        table(&ids(0, 60), |id| (Some(1.0), None, Some(id as i32))),
        spec(USERS),
        "column `town` of file-0.parquet has no value at all: leave it out of `input.user_attributes.columns`",
    );
    check(
        table(&ids(0, 60), known),
        AttributeSpec {
            max_columns: 8,
            ..spec(PRODUCTS)
        },
        "the attributes of products take 10 columns, `code` 5 of them; 8 may be taken: lower \
         `input.product_attributes.max_levels`",
    );
    check(
        table(&ids(0, 60), known),
        AttributeSpec {
            columns: vec!["size".into()],
            ..spec(PRODUCTS)
        },
        "file-0.parquet has no column `size` (attribute)",
    );
    check(
        table(&ids(0, 60), known),
        AttributeSpec {
            categorical: vec!["age".into()],
            ..spec(PRODUCTS)
        },
        "column `age` (attribute) of file-0.parquet is Float64; it must be text, boolean or integer to be categorical",
    );
    let error = train(&mut data, &settings(Preset::Hu, Solver::Cholesky))
        .err()
        .unwrap();
    assert!(
        error.contains("`user_attribute_weight` is 2, but the data have no attributes of users"),
        "{error}"
    );
}

/// The bundled purchases with what is known of households and products: one digest, embedded or not.
#[test]
fn one_digest_whatever_computes_it() {
    let inputs = Inputs::of(&[Data::Bundled]);
    for name in ["households.parquet", "products.parquet"] {
        std::fs::copy(examples().join(name), inputs.folder().join(name)).unwrap();
    }
    let run = |arguments: &[&str]| {
        let model = "rank = 16\nepochs = 3\nuser_attribute_weight = 3.0\nproduct_attribute_weight = 3.0\nbiases = true\n\
             linear_attributes = true";
        let job = Job::new(&inputs, Data::Bundled, model, "validation_bins = 4");
        let path = job.folder().join("job.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let tables = format!(
            "[input.user_attributes]\nfiles = \"{0}/households.parquet\"\n[input.product_attributes]\n\
             files = \"{0}/products.parquet\"\ncolumns = [\"department\", \"brand\", \"product_category\"]\n[split]",
            inputs.folder().display()
        );
        std::fs::write(&path, text.replace("[split]", &tables)).unwrap();
        json_of(&mut job.command("run", arguments))
    };
    let one = run(&["--workers", "1", "--threads", "2", "--memory", "4GiB"]);
    let caches = tempfile::tempdir().unwrap();
    let daemons = ["a", "b"].map(|name| {
        let hidden = [inputs.folder()];
        let arguments = ["--memory", "512MiB", "--threads", "1"];
        Daemon::start_blind(&caches.path().join(name), &hidden, &arguments)
    });
    let two = run(&["--workers", "2", "--memory", "512MiB", "--io", "pread"]);
    let apart = run(&["--workers", &addresses(&daemons), "--memory", "512MiB"]);
    assert_eq!(one["ingest"]["attributes"]["user"]["described"], 801);
    assert_eq!(one["ingest"]["attributes"]["product"]["described"], 68_492);
    for other in [&two, &apart] {
        assert_eq!(one["ingest"]["digest"], other["ingest"]["digest"]);
        assert_eq!(one["digest"], other["digest"]);
        assert!(one["digest"].is_string());
    }
}
