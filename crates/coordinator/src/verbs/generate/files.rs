//! The tables of a generated folder, each made of files that can be written alone.

use crate::failure::Failure;
use crate::job::settings::Generate;
use model::generate::{Activity, Edges, Interests, Order, Rows, Totals, World};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;
use tables::out::OutError;
use tables::out::generated::{Form, GeneratedWriter, Values, Written, written};
use tensor::time::text_of_day;

/// Users, products or days of a file of their own tables.
const ROWS_OF_FILE: u32 = 1 << 20;
/// Rows of those that are held at once.
const CHUNK: usize = 1 << 14;

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Its path in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its hash.
    pub blake3: String,
}

/// What is written alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The rows of a part of the users.
    Purchases(u32),
    /// Attributes of a range of users.
    Users(u32),
    /// Attributes of a range of products.
    Products(u32),
    /// Edges of a range of users.
    Edges(u32),
    /// The truth about a range of users.
    UserTruth(u32),
    /// The truth about a range of products.
    ProductTruth(u32),
    /// The truth about days.
    DayTruth,
}

/// Writes tables into a folder.
pub struct Writer<'a> {
    wish: &'a Generate,
    world: &'a World,
    activity: &'a Activity,
    folder: &'a Path,
}

impl<'a> Writer<'a> {
    /// Of a world.
    pub fn new(
        wish: &'a Generate,
        world: &'a World,
        activity: &'a Activity,
        folder: &'a Path,
    ) -> Self {
        Writer {
            wish,
            world,
            activity,
            folder,
        }
    }

    /// All tables, the large ones first.
    pub fn tables(&self) -> Vec<Table> {
        let settings = &self.wish.world;
        let users = 0..settings.users.div_ceil(ROWS_OF_FILE);
        let products = 0..settings.products.div_ceil(ROWS_OF_FILE);
        let edges = has_edges(self.wish)
            .then(|| users.clone())
            .into_iter()
            .flatten();
        (0..self.activity.parts())
            .map(Table::Purchases)
            .chain(products.clone().map(Table::ProductTruth))
            .chain(users.clone().map(Table::UserTruth))
            .chain(edges.map(Table::Edges))
            .chain(users.map(Table::Users))
            .chain(products.map(Table::Products))
            .chain([Table::DayTruth])
            .collect()
    }

    /// Writes a table, but for files that an earlier call made.
    ///
    /// # Errors
    /// Where the disk says no.
    pub fn write(&self, table: Table) -> Result<Vec<Made>, Failure> {
        match table {
            Table::Purchases(part) => self.purchases(part),
            Table::Users(file) => self.users(file),
            Table::Products(file) => self.products(file),
            Table::Edges(file) => self.edges(file),
            Table::UserTruth(file) => self.user_truth(file),
            Table::ProductTruth(file) => self.product_truth(file),
            Table::DayTruth => self.day_truth(),
        }
        .map_err(Failure::unwritten)
    }

    fn purchases(&self, part: u32) -> Result<Vec<Made>, OutError> {
        let (mut rows, mut order) = (Rows::default(), Order::default());
        if !self.wish.by_day {
            let name = format!("interactions/part-{part:05}.parquet");
            let made = self.file(name, |path| {
                rows.fill(self.world, self.activity, part, &mut order);
                self.rows(path, &rows, 0..rows.days.len())
            })?;
            return Ok(vec![made]);
        }
        rows.fill(self.world, self.activity, part, &mut order);
        let mut made = Vec::new();
        for day in 0..self.wish.world.days as u16 {
            let of_day = rows.days.partition_point(|&other| other < day)
                ..rows.days.partition_point(|&other| other <= day);
            if of_day.is_empty() {
                continue;
            }
            let date = text_of_day(self.wish.first_day + i32::from(day));
            let name = format!("interactions/day={date}/part-{part:05}.parquet");
            made.push(self.file(name, |path| self.rows(path, &rows, of_day))?);
        }
        Ok(made)
    }

    fn rows(&self, path: &Path, rows: &Rows, range: Range<usize>) -> Result<Written, OutError> {
        let mut columns = vec![("user", self.user()), ("product", self.product())];
        let mut values = vec![
            Values::Words(&rows.users[range.clone()]),
            Values::Words(&rows.products[range.clone()]),
        ];
        if !self.wish.by_day {
            columns.push(("day", Form::Date(self.wish.first_day)));
            values.push(Values::Days(&rows.days[range.clone()]));
        }
        if self.wish.world.quantity > 1 {
            columns.push(("quantity", Form::Whole));
            values.push(Values::Bytes(&rows.quantities[range]));
        }
        let mut writer = GeneratedWriter::create(path, &columns)?;
        writer.write(&values)?;
        writer.finish()
    }

    fn users(&self, file: u32) -> Result<Vec<Made>, OutError> {
        let name = format!("users/part-{file:05}.parquet");
        let columns = [
            ("user", self.user()),
            ("segment", Form::Name("segment-", 3)),
            ("age", Form::Whole),
            ("region", Form::Name("region-", 2)),
        ];
        self.chunked(
            name,
            &columns,
            file,
            self.wish.world.users,
            |writer, users| {
                let ids = ids(users.clone(), |user| self.world.user_id(user));
                let known: Vec<_> = users.map(|user| self.world.user_attributes(user)).collect();
                let column = |of: fn(&model::generate::UserAttributes) -> u32| -> Vec<u32> {
                    known.iter().map(of).collect()
                };
                writer.write(&[
                    Values::Words(&ids),
                    Values::Words(&column(|known| known.segment)),
                    Values::Words(&column(|known| known.age)),
                    Values::Words(&column(|known| known.region)),
                ])
            },
        )
    }

    fn products(&self, file: u32) -> Result<Vec<Made>, OutError> {
        let name = format!("products/part-{file:05}.parquet");
        let columns = [
            ("product", self.product()),
            ("department", Form::Name("department-", 3)),
            ("price", Form::Real),
            ("brand", Form::Name("brand-", 2)),
        ];
        self.chunked(
            name,
            &columns,
            file,
            self.wish.world.products,
            |writer, places| {
                let ids = ids(places.clone(), |place| self.world.product_id(place));
                let known: Vec<_> = places
                    .map(|place| self.world.product_attributes(place))
                    .collect();
                let departments: Vec<u32> = known.iter().map(|known| known.department).collect();
                let prices: Vec<f32> = known.iter().map(|known| known.price).collect();
                let brands: Vec<u32> = known.iter().map(|known| known.brand).collect();
                writer.write(&[
                    Values::Words(&ids),
                    Values::Words(&departments),
                    Values::Reals(&prices),
                    Values::Words(&brands),
                ])
            },
        )
    }

    fn edges(&self, file: u32) -> Result<Vec<Made>, OutError> {
        let name = format!("edges/part-{file:05}.parquet");
        let columns = [("from", self.user()), ("to", self.user())];
        let mut edges = Edges::default();
        self.chunked(
            name,
            &columns,
            file,
            self.wish.world.users,
            |writer, users| {
                edges.fill(self.world, users);
                writer.write(&[Values::Words(&edges.from), Values::Words(&edges.to)])
            },
        )
    }

    fn user_truth(&self, file: u32) -> Result<Vec<Made>, OutError> {
        let settings = &self.wish.world;
        let name = format!("truth/users/part-{file:05}.parquet");
        let slots = |prefix: &str| -> Vec<String> {
            (1..=settings.interests)
                .map(|slot| format!("{prefix}_{slot}"))
                .collect()
        };
        let (early, late) = (slots("interest"), slots("last_interest"));
        let late = if settings.drift > 0.0 {
            late
        } else {
            Vec::new()
        };
        let mut columns = vec![
            ("user", self.user()),
            ("segment", Form::Name("segment-", 3)),
            ("influencer", Form::Whole),
        ];
        columns.extend(
            early
                .iter()
                .chain(&late)
                .map(|name| (name.as_str(), Form::Whole)),
        );
        self.chunked(name, &columns, file, settings.users, |writer, users| {
            let ids = ids(users.clone(), |user| self.world.user_id(user));
            let influencers = users
                .clone()
                .map(|user| u32::from(user < settings.influencers));
            let influencers: Vec<u32> = influencers.collect();
            let interests: Vec<_> = users.map(|user| Interests::of(settings, user)).collect();
            let segments: Vec<u32> = interests
                .iter()
                .map(|of| of.early[0] % settings.departments)
                .collect();
            let column = |slot: usize| -> Vec<u32> {
                let of = interests.iter();
                of.map(|of| {
                    of.early
                        .iter()
                        .chain(&of.late)
                        .nth(slot)
                        .copied()
                        .unwrap_or(0)
                })
                .collect()
            };
            let columns: Vec<Vec<u32>> = (0..early.len() + late.len()).map(column).collect();
            let mut values = vec![
                Values::Words(&ids),
                Values::Words(&segments),
                Values::Words(&influencers),
            ];
            values.extend(columns.iter().map(|column| Values::Words(column)));
            writer.write(&values)
        })
    }

    fn product_truth(&self, file: u32) -> Result<Vec<Made>, OutError> {
        let settings = &self.wish.world;
        let name = format!("truth/products/part-{file:05}.parquet");
        let columns = [
            ("product", self.product()),
            ("department", Form::Name("department-", 3)),
            ("popularity", Form::Double),
            ("factors", Form::Reals(settings.rank as usize)),
        ];
        let totals = Totals::of(settings);
        self.chunked(name, &columns, file, settings.products, |writer, places| {
            let ids = ids(places.clone(), |place| self.world.product_id(place));
            let departments: Vec<u32> = places
                .clone()
                .map(|place| place % settings.departments)
                .collect();
            let (popularity, factors) = self.world.product_truth(places, &totals);
            writer.write(&[
                Values::Words(&ids),
                Values::Words(&departments),
                Values::Doubles(&popularity),
                Values::Reals(&factors),
            ])
        })
    }

    fn day_truth(&self) -> Result<Vec<Made>, OutError> {
        let settings = &self.wish.world;
        let rank = settings.rank as usize;
        let made = self.file("truth/days.parquet".to_owned(), |path| {
            let columns = [
                ("day", Form::Date(self.wish.first_day)),
                ("factors", Form::Reals(rank)),
                ("last_factors", Form::Reals(rank)),
            ];
            let days: Vec<u16> = (0..settings.days as u16).collect();
            let mut writer = GeneratedWriter::create(path, &columns)?;
            writer.write(&[
                Values::Days(&days),
                Values::Reals(&self.world.day_truth(false)),
                Values::Reals(&self.world.day_truth(true)),
            ])?;
            writer.finish()
        })?;
        Ok(vec![made])
    }

    /// A file of a range of users or products, some of them at a time.
    fn chunked(
        &self,
        name: String,
        columns: &[(&str, Form)],
        file: u32,
        of: u32,
        mut write: impl FnMut(&mut GeneratedWriter, Range<u32>) -> Result<(), OutError>,
    ) -> Result<Vec<Made>, OutError> {
        let start = file * ROWS_OF_FILE;
        let end = u64::from(start) + u64::from(ROWS_OF_FILE);
        let end = end.min(u64::from(of)) as u32;
        let made = self.file(name, |path| {
            let mut writer = GeneratedWriter::create(path, columns)?;
            for first in (start..end).step_by(CHUNK) {
                write(
                    &mut writer,
                    first..end.min(first.saturating_add(CHUNK as u32)),
                )?;
            }
            writer.finish()
        })?;
        Ok(vec![made])
    }

    /// A file, unless it is there: then it is what an interrupted call had finished.
    fn file(
        &self,
        name: String,
        write: impl FnOnce(&Path) -> Result<Written, OutError>,
    ) -> Result<Made, OutError> {
        let path = self.folder.join(&name);
        let found = if path.exists() {
            written(&path)?
        } else {
            write(&path)?
        };
        Ok(Made {
            name,
            bytes: found.bytes,
            blake3: found.digest.to_string(),
        })
    }

    fn user(&self) -> Form {
        id_form(self.wish, "u", self.wish.world.users)
    }

    fn product(&self) -> Form {
        id_form(self.wish, "p", self.wish.world.products)
    }
}

/// Whether there are edges between users.
pub fn has_edges(wish: &Generate) -> bool {
    wish.world.friends > 0 || wish.world.influencers > 0
}

fn id_form(wish: &Generate, prefix: &'static str, count: u32) -> Form {
    if wish.text_ids {
        Form::Name(
            prefix,
            (count - 1).checked_ilog10().unwrap_or(0) as usize + 1,
        )
    } else {
        Form::Number(count)
    }
}

fn ids(range: Range<u32>, id: impl Fn(u32) -> u32) -> Vec<u32> {
    range.map(id).collect()
}
