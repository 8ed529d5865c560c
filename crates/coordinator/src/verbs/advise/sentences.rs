//! The verdict in sentences, each tied to rows of the table.
//!
//! **Invariant:** a sentence says "better" or "worse" only where intervals that hold for all models at once support it.

use crate::output::advice::{AdviceReport, ModelAdvice, Sentence, interval};
use indicatif::HumanCount;
use model::advise::{Answer, Family, Gap};
use tensor::{DataSet, Mode};

/// Users below whom it is said that they are few.
const FEW_USERS: u64 = 500;

/// All sentences.
pub fn all(report: &AdviceReport, data: &DataSet) -> Vec<Sentence> {
    let mut said = Vec::new();
    for task in ["new_products", "all_products"] {
        if let Some(teller) = Teller::of(report, task) {
            said.extend(teller.answer());
            if teller.decides() {
                said.extend(teller.questions());
            }
        }
    }
    said.extend(lacks(report, data));
    said
}

/// A task of a report.
struct Teller<'a> {
    report: &'a AdviceReport,
    task: &'static str,
}

impl<'a> Teller<'a> {
    fn of(report: &'a AdviceReport, task: &'static str) -> Option<Self> {
        report
            .tasks
            .contains_key(task)
            .then_some(Teller { report, task })
    }

    fn words(&self) -> &'static str {
        if self.task == "new_products" {
            "New products"
        } else {
            "All products"
        }
    }

    /// Whether figures tell models apart.
    fn decides(&self) -> bool {
        self.report.tasks[self.task].answer != Answer::TooLittleData
    }

    fn rows(&self) -> impl Iterator<Item = &'a ModelAdvice> {
        let task = self.task;
        let all = self.report.models.iter();
        all.filter(move |model| model.tasks.contains_key(task))
    }

    fn row(&self, name: &str) -> Option<&'a ModelAdvice> {
        self.rows().find(|row| row.name == name)
    }

    fn value(&self, row: &ModelAdvice) -> f64 {
        let figures = &row.tasks[self.task].figures;
        figures
            .get(&self.report.metric)
            .copied()
            .unwrap_or_default()
    }

    fn valued(&self, row: &ModelAdvice) -> String {
        let of = row.tasks[self.task].intervals.get(&self.report.metric);
        let around = of.map_or_else(String::new, |of| format!(" {}", interval(of)));
        format!("{} {:.4}{around}", self.report.metric, self.value(row))
    }

    /// The best of some families.
    fn best(&self, families: &[Family]) -> Option<&'a ModelAdvice> {
        let of = self
            .rows()
            .filter(|row| families.contains(&row.family) && row.seconds.is_some());
        of.max_by(|one, other| self.value(one).total_cmp(&self.value(other)))
    }

    /// What to use, or why nothing can be said.
    fn answer(&self) -> Vec<Sentence> {
        let advice = &self.report.tasks[self.task];
        let (Some(model), Some(best), Some(popular)) = (
            self.row(&advice.model),
            self.row(&advice.best),
            self.row("popularity"),
        ) else {
            return Vec::new();
        };
        let to_popularity = |row: &ModelAdvice| row.tasks[self.task].to_popularity;
        let (words, base) = (self.words(), self.value(popular));
        let share = |difference: f64| 100.0 * difference / base.max(1e-12);
        let text = match advice.answer {
            Answer::Use if model.name == "popularity" => String::new(),
            Answer::Use => format!(
                "{words}: use \"{}\" ({}), {}, {:+.0} % on popularity's {base:.4}. No model is better by more than {:.0} % that the intervals support.",
                model.name,
                model.family.words(),
                self.valued(model),
                share(self.value(model) - base),
                100.0 * self.report.worth
            ),
            Answer::NothingBeatsPopularity => {
                let most = self
                    .rows()
                    .filter_map(to_popularity)
                    .map(|gap| gap.interval.1);
                format!(
                    "{words}: nothing beats popularity, {}. A gain of more than {:.0} % is ruled out for every model.",
                    self.valued(popular),
                    share(most.fold(0.0, f64::max)).max(1.0)
                )
            }
            Answer::TooLittleData => {
                let gap = to_popularity(best).unwrap_or(NO_GAP);
                format!(
                    "{words}: no verdict. The figures of {} users are too wide apart to tell models from popularity: the best, \"{}\", is {:+.0} % away from it, and anything from {:+.0} to {:+.0} % is possible. Take more users, a longer test part, or more data.",
                    HumanCount(advice.users),
                    best.name,
                    share(gap.difference),
                    share(gap.interval.0),
                    share(gap.interval.1)
                )
            }
        };
        let mut said = vec![sentence(text, &[model, popular])];
        if advice.answer == Answer::Use && best.name != model.name {
            let gap = model.tasks[self.task].to_best.unwrap_or(NO_GAP);
            let why = if gap.below(0.0) {
                format!(
                    "less than the {:.0} % that are worth a model which asks for more",
                    100.0 * self.report.worth
                )
            } else {
                "which the intervals do not support".to_owned()
            };
            let text = format!(
                "{words}: the best figure is that of \"{}\", {:.4}: {} above \"{}\", {why}.",
                best.name,
                self.value(best),
                around(&Gap {
                    difference: -gap.difference,
                    interval: model::bootstrap::Interval(-gap.interval.1, -gap.interval.0)
                }),
                model.name
            );
            said.push(sentence(text, &[best, model]));
        }
        said
    }

    /// What more than a matrix brings, question by question.
    fn questions(&self) -> Vec<Sentence> {
        let mut said = Vec::new();
        let questions: [(&str, &[Family]); 4] = [
            ("a graph", &[Family::Graph]),
            ("time", &[Family::Tensor, Family::Fading]),
            ("side information", &[Family::SideInformation]),
            (
                "a neighbourhood of products without factors",
                &[Family::Neighbours],
            ),
        ];
        if let Some(matrix) = self.row("matrix") {
            for (what, families) in questions {
                said.extend(
                    self.best(families)
                        .map(|row| self.against(what, row, matrix)),
                );
            }
            if self.task == "all_products" {
                let repeat = self.rows().filter(|row| row.family == Family::Repeat);
                let repeat =
                    repeat.max_by(|one, other| self.value(one).total_cmp(&self.value(other)));
                said.extend(repeat.map(|row| self.against("what a user had before", row, matrix)));
            }
        }
        let dropped = &self.report.tasks[self.task].worse_than_popularity;
        let dropped: Vec<&ModelAdvice> = dropped.iter().filter_map(|name| self.row(name)).collect();
        if !dropped.is_empty() {
            let names: Vec<String> = dropped
                .iter()
                .map(|row| format!("\"{}\"", row.name))
                .collect();
            let text = format!(
                "{}: drop {}: worse than popularity.",
                self.words(),
                names.join(", ")
            );
            said.push(sentence(text, &dropped));
        }
        said
    }

    /// A model beside the plain matrix.
    fn against(&self, what: &str, row: &ModelAdvice, matrix: &ModelAdvice) -> Sentence {
        let gap = row.tasks[self.task].to_matrix.unwrap_or(NO_GAP);
        let least = self.report.worth * self.value(matrix);
        let found = if gap.above(least) {
            "pays"
        } else if gap.above(0.0) {
            "adds less than is worth it"
        } else if gap.below(0.0) {
            "takes away"
        } else {
            "makes no difference that the intervals support"
        };
        let cost = row
            .seconds
            .zip(matrix.seconds)
            .filter(|(_, of_matrix)| *of_matrix > 0.0);
        let cost = cost.map_or_else(String::new, |(seconds, of_matrix)| {
            format!("; it trains {:.1} times as long", seconds / of_matrix)
        });
        let text = format!(
            "{}: {what} {found}: \"{}\" is {} from the matrix's {:.4}{cost}.",
            self.words(),
            row.name,
            around(&gap),
            self.value(matrix)
        );
        sentence(text, &[row, matrix])
    }
}

const NO_GAP: Gap = Gap {
    difference: 0.0,
    interval: model::bootstrap::Interval(0.0, 0.0),
};

fn around(gap: &Gap) -> String {
    format!(
        "{:+.4} [{:+.4}, {:+.4}]",
        gap.difference, gap.interval.0, gap.interval.1
    )
}

fn sentence(text: String, rows: &[&ModelAdvice]) -> Sentence {
    let mut models: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    models.dedup();
    Sentence { text, models }
}

/// What the data do not have, or have little of.
fn lacks(report: &AdviceReport, data: &DataSet) -> Vec<Sentence> {
    let mut lacks = Vec::new();
    if data.time.is_none() {
        lacks.push(
            "no times, so neither seasons nor changing taste could be tried (`input.time`)"
                .to_owned(),
        );
    }
    if data.attributes.is_empty() {
        lacks.push("no attributes of users or products (`input.user_attributes`, `input.product_attributes`)".to_owned());
    } else if !data.attributes.contains_key(&Mode::User) {
        lacks.push(
            "no attributes of users, such as a segment to compare with (`input.user_attributes`)"
                .to_owned(),
        );
    }
    if data.edges.is_empty() {
        lacks.push("no edges between users or between products, where a graph would have more to say than the purchases alone (`input.user_edges`)".to_owned());
    }
    let users = report
        .tasks
        .values()
        .map(|task| task.users)
        .max()
        .unwrap_or(0);
    if users < FEW_USERS {
        lacks.push(format!("only {users} users with something held out: differences below some tenths cannot be seen"));
    }
    if lacks.is_empty() {
        return Vec::new();
    }
    vec![Sentence {
        text: format!("What the data lack: {}.", lacks.join("; ")),
        models: Vec::new(),
    }]
}
