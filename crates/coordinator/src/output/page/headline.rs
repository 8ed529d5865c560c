//! The first screen: what was trained on what, and whether it is better than a simple rule, for a reader who knows no metric.

use super::html::{Html, TEXT_MAX, classed, element, short, tagged};
use super::{Page, names, number, paragraph};
use crate::output::advice::{AdviceReport, TaskAdvice};
use crate::output::tables::{is_shown, shown_k};
use model::advise::Answer;
use model::bootstrap::Interval;
use model::evaluate::Evaluation;
use model::evaluate::report::{Ratings, WITH_RULES};
use serde::Serialize;

/// What was trained on what.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Subject {
    /// The model in words, as it begins a sentence: `Matrix factorization`.
    pub model: String,
    /// Its details: `alternating least squares, rank 64`.
    pub details: String,
    /// All users.
    pub users: u64,
    /// All products.
    pub products: u64,
    /// All interactions.
    pub interactions: u64,
    /// From when to when; `None` without time.
    pub span: Option<Span>,
    /// What is held out; `None`: nothing.
    pub held_out: Option<HeldOut>,
}

/// From when to when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The first day.
    pub first: String,
    /// The last.
    pub last: String,
    /// How many bins.
    pub bins: u32,
    /// What each is, as in `week`.
    pub bin: String,
}

/// What a test is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum HeldOut {
    /// The last bins: how many, and what each is.
    Bins(u32, String),
    /// A share of the interactions.
    Share(f64),
    /// Files of their own.
    Files,
}

impl HeldOut {
    /// As it stands in a sentence.
    fn words(&self) -> String {
        match self {
            HeldOut::Bins(1, bin) => format!("the last whole {bin}"),
            HeldOut::Bins(bins, bin) => format!("the last {bins} whole {bin}s"),
            HeldOut::Share(share) => {
                format!(
                    "{} of the interactions, taken at random",
                    number::percent(*share)
                )
            }
            HeldOut::Files => "files of their own".to_owned(),
        }
    }
}

/// What can be said of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The interval lies above 0.
    Better,
    /// It lies below.
    Worse,
    /// It holds 0.
    Open,
    /// There is no interval.
    Untested,
}

impl Call {
    /// Of an interval.
    pub fn of(interval: Option<Interval>) -> Self {
        match interval {
            None => Call::Untested,
            Some(Interval(low, _)) if low > 0.0 => Call::Better,
            Some(Interval(_, high)) if high < 0.0 => Call::Worse,
            Some(_) => Call::Open,
        }
    }
}

/// Whether a ranker is the model, with the rules of its lists or without.
fn is_ours(ranker: &str) -> bool {
    ranker == "model" || ranker == WITH_RULES
}

/// The model beside the best of the rules, in one task.
struct Verdict<'a> {
    k: u32,
    model: f64,
    rule: &'a str,
    of_rule: f64,
    interval: Option<Interval>,
    call: Call,
}

impl<'a> Verdict<'a> {
    fn of(evaluation: &'a Evaluation, task: &str) -> Option<Self> {
        let rankers = evaluation.tasks.get(task)?;
        let counted = evaluation.users.get(task)?.counted;
        let k = shown_k(rankers)?;
        let name = format!("recall@{k}");
        let model = *rankers.get("model")?.get(&name)?;
        let rules = rankers
            .iter()
            .filter(|(rule, _)| !is_ours(rule) && is_shown(task, rule));
        let rules = rules.filter_map(|(rule, figures)| Some((rule.as_str(), *figures.get(&name)?)));
        let (rule, of_rule) = rules.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(a.0)))?;
        let difference = evaluation.differences.get(task)?.get(rule)?.get(&name)?;
        (counted > 0).then_some(Verdict {
            k,
            model,
            rule,
            of_rule,
            interval: difference.interval,
            call: Call::of(difference.interval),
        })
    }
}

/// Of the window.
pub fn title(page: &Page) -> String {
    match &page.advice {
        Some(_) => "Which model to use: report".to_owned(),
        None => format!("{}: report", page.subject.model),
    }
}

/// Sentence, verdicts, figures of the data.
pub fn header(page: &Page) -> Html {
    let (subject, evaluation) = (&page.subject, page.evaluation.as_ref());
    let headline = match &page.advice {
        Some(advice) => advised(advice),
        None => headline(subject, evaluation),
    };
    let line = if subject.details.is_empty() {
        "Strata report".to_owned()
    } else {
        format!("Strata report · {}, {}", subject.model, subject.details)
    };
    [
        classed("p", "eyebrow", line),
        tagged("h1", headline),
        lead(subject),
        verdicts(evaluation),
        tiles(subject),
    ]
    .into_iter()
    .collect()
}

/// Which model to use, task by task.
fn advised(advice: &AdviceReport) -> String {
    let call = |of: &TaskAdvice| match of.answer {
        Answer::Use => format!("use “{}”", short(&of.model, TEXT_MAX)),
        Answer::NothingBeatsPopularity => "nothing beats popularity".to_owned(),
        Answer::TooLittleData => "the data are too few to tell".to_owned(),
    };
    // New products first, as everywhere on the page.
    let calls = advice.tasks.iter().rev();
    let calls: Vec<(String, String)> = calls
        .map(|(task, of)| (call(of), task.replace('_', " ")))
        .collect();
    let said = match &calls[..] {
        [(one, new), (other, all)] if one == other => format!("{one}, for {new} and for {all}"),
        calls => {
            let clauses = calls
                .iter()
                .map(|(call, task)| format!("{call} for {task}"));
            clauses.collect::<Vec<_>>().join("; ")
        }
    };
    let mut letters = said.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

fn headline(subject: &Subject, evaluation: Option<&Evaluation>) -> String {
    let model = &subject.model;
    let Some(evaluation) = evaluation else {
        return format!(
            "{model}, trained on all data: nothing is held out that could tell how good it is"
        );
    };
    if let Some(ratings) = &evaluation.ratings {
        return values_headline(model, ratings);
    }
    let new = Verdict::of(evaluation, "new_products").map(|verdict| verdict.call);
    let all = Verdict::of(evaluation, "all_products").map(|verdict| verdict.call);
    let clause = |call: Call, what: &str| match call {
        Call::Better => format!("beats simple rules at {what}"),
        Call::Worse => format!("is worse than a simple rule at {what}"),
        Call::Open => {
            format!("shows no difference to a simple rule that these data support at {what}")
        }
        Call::Untested => format!("was measured without intervals at {what}"),
    };
    let (finds, predicts) = ("finding new products", "predicting all purchases");
    match (new, all) {
        (Some(Call::Better), Some(Call::Better)) => {
            format!("{model} beats simple rules, at {finds} and at {predicts}")
        }
        (Some(Call::Open), Some(Call::Open)) => {
            format!("{model} is no better than a simple rule, as far as these data can tell")
        }
        (Some(Call::Worse), Some(Call::Worse)) => format!("{model} is worse than a simple rule"),
        (Some(Call::Untested), Some(Call::Untested)) => {
            format!("{model} was measured without intervals: small differences mean nothing")
        }
        (Some(new), Some(all)) => {
            let joint = if new == all { "and" } else { "but" };
            format!(
                "{model} {}, {joint} {}",
                clause(new, finds),
                clause(all, predicts)
            )
        }
        (Some(new), None) => format!("{model} {}", clause(new, finds)),
        (None, Some(all)) => format!("{model} {}", clause(all, predicts)),
        (None, None) => format!("{model}: what is held out is of no user that training knows"),
    }
}

fn values_headline(model: &str, ratings: &Ratings) -> String {
    let by = |model: f64, simple: f64| 100.0 * (1.0 - model / simple.max(f64::MIN_POSITIVE));
    let gain = by(ratings.rmse, ratings.bias_only.rmse);
    if gain >= 0.0 {
        format!("{model} misses values by {gain:.1} % less than averages of users and products do")
    } else {
        format!(
            "{model} misses values by {:.1} % more than averages of users and products do",
            -gain
        )
    }
}

fn lead(subject: &Subject) -> Html {
    let what = format!(
        "{} was trained on {} interactions between {} users and {} products",
        subject.model,
        number::count(subject.interactions),
        number::count(subject.users),
        number::count(subject.products)
    );
    let when = subject.span.as_ref().map_or_else(String::new, |span| {
        format!(
            ", in the {}s from {} to {}",
            span.bin, span.first, span.last
        )
    });
    let measured = subject.held_out.as_ref().map_or_else(
        || ". Nothing was held out, so nothing here says how good it is.".to_owned(),
        |part| {
            format!(
                ", less what was held out. All figures below are measured on {}, which training never saw.",
                part.words()
            )
        },
    );
    classed("p", "lead", format!("{what}{when}{measured}"))
}

fn verdicts(evaluation: Option<&Evaluation>) -> Html {
    let Some(evaluation) = evaluation else {
        return Html::default();
    };
    let mut cards = Vec::new();
    for (task, name, what) in [
        (
            "new_products",
            "Products new to the customer",
            "of the new products that a customer then bought",
        ),
        (
            "all_products",
            "All products, repeat purchases too",
            "of the products that a customer then bought",
        ),
    ] {
        if let Some(verdict) = Verdict::of(evaluation, task) {
            cards.push(card(name, what, &verdict, evaluation.level.unwrap_or(0.95)));
        }
    }
    if let Some(ratings) = &evaluation.ratings {
        cards.push(values_card(ratings));
    }
    element("div", &[("class", "verdicts")], cards)
}

fn card(name: &str, what: &str, verdict: &Verdict<'_>, level: f64) -> Html {
    let (class, call) = match verdict.call {
        Call::Better => ("verdict better", "▲ Better than the best simple rule."),
        Call::Worse => ("verdict worse", "▼ Worse than the best simple rule."),
        Call::Open => ("verdict", "● No difference that these data support."),
        Call::Untested => (
            "verdict",
            "● No interval was computed: a small difference means nothing.",
        ),
    };
    let big = element(
        "p",
        &[("class", "big")],
        [
            number::percent(verdict.model).into(),
            " ".into(),
            tagged(
                "small",
                format!("against {}", number::percent(verdict.of_rule)),
            ),
        ],
    );
    let means = format!(
        "Lists of {} named {} {what}, in the mean over customers. The best simple rule, {}, named {}.",
        verdict.k,
        number::percent(verdict.model),
        names::rule(verdict.rule),
        number::percent(verdict.of_rule)
    );
    let difference = verdict.model - verdict.of_rule;
    let interval = verdict
        .interval
        .map_or_else(String::new, |Interval(low, high)| {
            format!(
                " The {:.0} % interval runs from {} to {}.",
                100.0 * level,
                number::points(low),
                number::points(high)
            )
        });
    let difference = format!(
        "Difference: {} percentage points.{interval}",
        number::points(difference)
    );
    element(
        "div",
        &[("class", class)],
        [
            classed("p", "title", name),
            big,
            classed("p", "call", call),
            paragraph(means),
            classed("p", "note", difference),
        ],
    )
}

fn values_card(ratings: &Ratings) -> Html {
    let class = if ratings.rmse < ratings.bias_only.rmse {
        "verdict better"
    } else {
        "verdict worse"
    };
    let big = element(
        "p",
        &[("class", "big")],
        [
            number::figure(ratings.rmse).into(),
            " ".into(),
            tagged(
                "small",
                format!("against {}", number::figure(ratings.bias_only.rmse)),
            ),
        ],
    );
    let means = format!(
        "Root of the mean squared error over {} values between {} and {}; the other figure is that of averages of users and \
         products. The difference has no interval: a small one means nothing.",
        number::count(ratings.interactions),
        number::plain(f64::from(ratings.range.0)),
        number::plain(f64::from(ratings.range.1))
    );
    element(
        "div",
        &[("class", class)],
        [
            classed("p", "title", "Predicted values"),
            big,
            paragraph(means),
        ],
    )
}

fn tiles(subject: &Subject) -> Html {
    let mut tiles = vec![
        ("Users", number::count(subject.users)),
        ("Products", number::count(subject.products)),
        ("Interactions", number::count(subject.interactions)),
    ];
    if let Some(span) = &subject.span {
        tiles.push(("Time", names::several(span.bins.into(), &span.bin)));
    }
    let tiles = tiles.into_iter().map(|(name, value)| {
        element(
            "div",
            &[],
            [tagged("dt", name), tagged("dd", short(&value, 24))],
        )
    });
    element("dl", &[("class", "tiles")], tiles)
}
