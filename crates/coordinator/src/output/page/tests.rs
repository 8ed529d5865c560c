//! The whole page: what is in it, that it is well-formed, and what hostile data do to it.

use super::*;
use crate::output::advice::{ModelAdvice, Sentence, TaskAdvice, TaskFigures};
use crate::output::report::PhaseReport;
use model::advise::{Answer, Family, Gap};
use model::bootstrap::Interval;
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::{BTreeMap, BTreeSet};

/// What somebody might call a product.
const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&lt;\u{202e}\u{0}";
/// The promise of the docs.
const BYTES_MAX: usize = 2_000_000;

fn evaluation(model: f64, interval: Option<(f64, f64)>) -> Evaluation {
    let figures = |value: f64| {
        serde_json::json!({"recall@20": value, "ndcg@20": value, "map@20": value, "precision@20": value, "coverage@20": 0.5,
            "recall@50": 2.0 * value, "ndcg@50": value})
    };
    let rankers = serde_json::json!({"model": figures(model), "popularity": figures(0.02), "popularity_recent": figures(0.03),
        "own_count": figures(0.9)});
    let difference = |of: f64| {
        let interval = interval.map(|(low, high)| [low, high]);
        serde_json::json!({"difference": model - of, "interval": interval})
    };
    let differences =
        |of: f64| serde_json::json!({"recall@20": difference(of), "ndcg@20": difference(of)});
    let rules = serde_json::json!({"popularity": differences(0.02), "popularity_recent": differences(0.03),
        "own_count": differences(0.9)});
    let users = serde_json::json!({"counted": 100, "without_training": 3, "without_relevant": 4});
    let found = serde_json::json!({
        "part": "test",
        "tasks": {"new_products": rankers, "all_products": rankers},
        "differences": {"new_products": rules, "all_products": rules},
        "users": {"new_products": users, "all_products": users},
        "level": 0.95, "replicates": 200,
        "slices": {"new_products": {"cold users": {"users": 41, "rankers": {"model": {"recall@20": 0.0123}},
            "intervals": {"model": {"recall@20": [0.01, 0.02]}}}}},
    });
    serde_json::from_value(found).expect("an evaluation")
}

fn fact(name: &str, value: &str) -> Fact {
    Fact {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// A page with all sections, names as given, and so many rows of whatever has rows.
fn whole(name: &str, rows: usize) -> Page {
    let product = || Product {
        id: name.to_owned(),
        about: Some(name.to_owned()),
    };
    let course = (1..=rows.max(2) as u32).map(|epoch| EpochReport {
        epoch,
        objective: Some(1e6 / f64::from(epoch)),
        seconds: 1.0,
        metrics: [
            ("new_products ndcg@20".to_owned(), 0.1),
            (name.to_owned(), 0.2),
        ]
        .into(),
    });
    let mut facts = Facts::default();
    for side in [&mut facts.users, &mut facts.products] {
        let bins = &mut side.degrees.histogram;
        bins.resize_with(40, Default::default);
        for (power, bin) in bins.iter_mut().enumerate() {
            (bin.from, bin.nodes) = (1 << power, 41 - power as u64);
        }
    }
    let example = Example {
        user: name.to_owned(),
        interactions: 12,
        had: vec![
            Had {
                product: product(),
                amount: 3.0
            };
            rows
        ],
        unit: Some(name.to_owned()),
        recommended: vec![
            Recommended {
                product: product(),
                hit: true
            };
            rows
        ],
        held_out: Some(4),
    };
    let group = MapGroup {
        name: name.to_owned(),
        points: (0..300)
            .map(|place| [f64::from(place).sin(), f64::from(place).cos()])
            .collect(),
    };
    Page {
        subject: Subject {
            model: "Matrix factorization".to_owned(),
            details: name.to_owned(),
            users: 2469,
            products: 68_509,
            interactions: 1_427_303,
            span: Some(Span {
                first: "2017-01-02".to_owned(),
                last: "2018-01-07".to_owned(),
                bins: 53,
                bin: "week".to_owned(),
            }),
            held_out: Some(HeldOut::Bins(4, "week".to_owned())),
        },
        advice: None,
        evaluation: Some(evaluation(0.04, Some((0.005, 0.015)))),
        course: Course {
            epochs: course.collect(),
            best: Some(BestReport {
                epoch: 2,
                metric: "new_products ndcg@20".to_owned(),
                value: 0.1,
            }),
        },
        times: Some(Times {
            bin: "week".to_owned(),
            starts: (0..rows.max(9)).map(|bin| format!("week {bin}")).collect(),
            factors: vec![(0..rows.max(9)).map(|bin| bin as f32).collect(); 64],
        }),
        degrees: Some(facts),
        map: Some(Map {
            by: name.to_owned(),
            groups: vec![group; 6],
            share: 0.25,
            users: 2469,
        }),
        examples: vec![example; 4],
        work: Work {
            phases: vec![
                PhaseReport {
                    phase: name.to_owned(),
                    seconds: 12.5,
                    tasks: 7,
                    ..PhaseReport::default()
                };
                8
            ],
            resumed_from: Some(3),
        },
        origin: Origin {
            version: "0.1.0".to_owned(),
            verb: "run".to_owned(),
            digests: vec![fact("Factors", name)],
            data: vec![fact("User", name)],
            settings: vec![fact(name, name); rows],
        },
    }
}

/// Parses a page strictly and hands over its elements.
fn with_elements<T>(page: &str, look: impl FnOnce(&[Node<'_, '_>]) -> T) -> T {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(page, options).expect("a well-formed page");
    let elements: Vec<Node<'_, '_>> = document.descendants().filter(Node::is_element).collect();
    look(&elements)
}

fn attributes<'a>(elements: &[Node<'a, 'a>], name: &str) -> Vec<&'a str> {
    elements
        .iter()
        .filter_map(|element| element.attribute(name))
        .collect()
}

#[test]
fn all_sections_are_there_and_found_by_their_names() {
    let page = render(&whole("a name", 10));
    with_elements(&page, |elements| {
        let ids = attributes(elements, "id");
        let distinct: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(distinct.len(), ids.len(), "ids are unique");
        let of = |tag: &str| {
            elements
                .iter()
                .filter(|element| element.has_tag_name(tag))
                .count()
        };
        let sections: Vec<&str> = elements
            .iter()
            .filter(|element| element.has_tag_name("section"))
            .filter_map(|section| section.attribute("id"))
            .collect();
        assert_eq!(
            sections,
            [
                "quality", "training", "time", "users", "examples", "data", "work", "origin"
            ]
        );
        assert_eq!(
            (
                of("h1"),
                of("main"),
                of("header"),
                of("footer"),
                of("nav"),
                of("title") > 0
            ),
            (1, 1, 1, 1, 1, true)
        );
        for target in attributes(elements, "href") {
            let target = target
                .strip_prefix('#')
                .expect("a link into the page itself");
            assert!(distinct.contains(target), "{target}");
        }
        for names in attributes(elements, "aria-labelledby") {
            for name in names.split(' ') {
                assert!(distinct.contains(name), "{name}");
            }
        }
        for svg in elements
            .iter()
            .filter(|element| element.has_tag_name("svg"))
        {
            let named = svg.attribute("role") == Some("img")
                && svg
                    .children()
                    .filter(|child| child.has_tag_name("title") || child.has_tag_name("desc"))
                    .count()
                    == 2;
            assert!(
                named || svg.attribute("aria-hidden") == Some("true"),
                "a chart without a name"
            );
        }
    });
}

/// Models side by side, one of which could not be trained.
fn advice(name: &str) -> AdviceReport {
    let figures = |value: f64| {
        let gap = |difference: f64| Gap {
            difference,
            interval: Interval(difference - 0.01, difference + 0.01),
        };
        let values: BTreeMap<String, f64> = [("ndcg@20".to_owned(), value)].into();
        TaskFigures {
            figures: values.clone(),
            intervals: [("ndcg@20".to_owned(), Interval(value - 0.01, value + 0.01))].into(),
            to_best: Some(gap(value - 0.3)),
            slices: [(name.to_owned(), (12, values))].into(),
            ..TaskFigures::default()
        }
    };
    let model = |name: &str, value: Option<f64>| {
        let tasks = ["new_products", "all_products"].map(str::to_owned);
        let tasks = value.map(|value| tasks.map(|task| (task, figures(value))).into());
        ModelAdvice {
            tasks: tasks.unwrap_or_default(),
            seconds: Some(3.0),
            parameters: Some(4096),
            failed: value.is_none().then(|| name.to_owned()),
            ..ModelAdvice::untrained(name, Family::Matrix)
        }
    };
    let task = || TaskAdvice {
        users: 100,
        answer: Answer::Use,
        model: "als".to_owned(),
        family: Family::Matrix,
        best: "als".to_owned(),
        as_good: Vec::new(),
        worse_than_popularity: Vec::new(),
    };
    let sentence = |text: &str| Sentence {
        text: text.to_owned(),
        models: Vec::new(),
    };
    AdviceReport {
        metric: "ndcg@20".to_owned(),
        level: 0.95,
        verdict: vec![sentence("Use matrix factorization."), sentence(name)],
        tasks: ["new_products", "all_products"]
            .map(|name| (name.to_owned(), task()))
            .into(),
        models: vec![
            model(name, Some(0.1)),
            model("als", Some(0.3)),
            model("gcn", None),
        ],
        ..AdviceReport::default()
    }
}

#[test]
fn slices_say_for_whom() {
    let page = render(&whole("x", 3));
    let (_, table) = page
        .split_once("id=\"table-slices-new-products-caption\"")
        .expect("the table");
    let (table, _) = table.split_once("</table>").expect("its end");
    for part in ["cold users", "41 users", "0.0123", "0.0100 to 0.0200", "–"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!page.contains("table-slices-all-products"));
}

#[test]
fn advice_stands_first_and_marks_what_to_use() {
    for name in ["lightgcn", HOSTILE] {
        let page = Page {
            advice: Some(advice(name)),
            evaluation: None,
            ..whole("x", 3)
        };
        let page = render(&page);
        with_elements(&page, |elements| {
            let text = |tag: &str| {
                let found = elements.iter().find(|element| element.has_tag_name(tag));
                found.and_then(Node::text).unwrap_or_default().to_owned()
            };
            assert_eq!(
                text("h1"),
                "Use “als”, for new products and for all products"
            );
            let ids = attributes(elements, "id");
            assert_eq!(
                ids.iter().collect::<BTreeSet<_>>().len(),
                ids.len(),
                "ids are unique"
            );
            let first = elements
                .iter()
                .find(|element| element.has_tag_name("section"));
            assert_eq!(
                first.and_then(|section| section.attribute("id")),
                Some("advice")
            );
            let marked = elements
                .iter()
                .filter(|element| element.attribute("class") == Some("model"));
            let marked: Vec<String> = marked
                .map(|row| {
                    row.descendants()
                        .find_map(|node| node.text())
                        .unwrap_or_default()
                        .to_owned()
                })
                .collect();
            // Costs and slices of two tasks.
            assert_eq!(marked, ["als"; 4]);
        });
        assert!(page.contains("could not be trained: "));
        // 0.1 is worse than the best by what its interval supports; the best differs from itself by nothing.
        assert!(
            page.contains("\u{2212}0.2000 (worse)") && page.contains("+0.0000 (no difference"),
            "{page}"
        );
    }
}

#[test]
fn the_headline_of_a_comparison_says_what_can_be_said() {
    let check = |answers: [Answer; 2], expected: &str| {
        let mut found = advice("gcn");
        for (task, answer) in ["new_products", "all_products"].into_iter().zip(answers) {
            found.tasks.get_mut(task).expect("the task").answer = answer;
        }
        let page = render(&Page {
            advice: Some(found),
            ..Page::default()
        });
        assert!(page.contains(&format!("<h1>{expected}</h1>")), "{expected}");
    };
    check(
        [Answer::Use, Answer::NothingBeatsPopularity],
        "Use “als” for new products; nothing beats popularity for all products",
    );
    check(
        [Answer::TooLittleData; 2],
        "The data are too few to tell, for new products and for all products",
    );
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    for page in [render(&whole(HOSTILE, 10)), render(&Page::default())] {
        with_elements(&page, |elements| {
            for element in elements {
                let tag = element.tag_name().name();
                assert!(
                    !["script", "img", "link", "iframe", "object", "form"].contains(&tag),
                    "{tag}"
                );
                for attribute in element.attributes() {
                    let name = attribute.name();
                    assert!(
                        !name.starts_with("on")
                            && !["src", "srcset", "style", "action"].contains(&name),
                        "{name}"
                    );
                }
            }
        });
        let style = include_str!("style.css");
        assert!(!style.contains("url(") && !style.contains("@import"));
        assert!(page.contains("default-src &#39;none&#39;"));
    }
}

#[test]
fn names_show_as_they_are() {
    let page = render(&whole(HOSTILE, 3));
    let shown = with_elements(&page, |elements| {
        let text = |element: &Node<'_, '_>| element.text().unwrap_or_default().to_owned();
        let ids = elements
            .iter()
            .filter(|element| element.has_tag_name("bdi"));
        ids.map(text).collect::<Vec<String>>()
    });
    assert!(
        shown
            .iter()
            .any(|text| text.starts_with("\"><script>alert(1)</script>")),
        "{shown:?}"
    );
}

#[test]
fn a_page_has_at_most_2_mb_whatever_the_data() {
    let long = whole("x", 50_000);
    let page = Page {
        course: long.course,
        times: long.times,
        ..whole(&"<".repeat(10_000), 300)
    };
    let page = render(&page);
    assert!(page.len() <= BYTES_MAX, "{} bytes", page.len());
    with_elements(&page, |_| ());
}

#[test]
fn a_page_of_nothing_says_so() {
    let page = render(&Page {
        subject: Subject {
            model: "LightGCN".to_owned(),
            ..Subject::default()
        },
        ..Page::default()
    });
    with_elements(&page, |elements| {
        let sections = elements
            .iter()
            .filter(|element| element.has_tag_name("section"));
        let ids: Vec<&str> = sections
            .filter_map(|section| section.attribute("id"))
            .collect();
        assert_eq!(ids, ["origin"]);
    });
    assert!(
        page.contains("nothing is held out that could tell how good it is"),
        "{page}"
    );
}

/// The sentence at the top, for each way in which an evaluation can come out.
#[test]
fn the_headline_says_what_the_intervals_support() {
    let check = |evaluation: Evaluation, expected: &str| {
        let page = Page {
            evaluation: Some(evaluation),
            ..whole("x", 3)
        };
        let page = render(&page);
        let heading = with_elements(&page, |elements| {
            let heading = elements.iter().find(|element| element.has_tag_name("h1"));
            heading.and_then(Node::text).unwrap_or_default().to_owned()
        });
        assert_eq!(heading, expected);
        page
    };
    let mut found = evaluation(0.04, Some((0.005, 0.015)));
    // For all products the best rule is what a customer bought himself, of which the task of new products must not speak.
    let own = found
        .differences
        .get_mut("all_products")
        .and_then(|rules| rules.get_mut("own_count"));
    let own = own
        .and_then(|figures| figures.get_mut("recall@20"))
        .expect("a difference");
    own.interval = Some(model::bootstrap::Interval(-0.9, -0.8));
    let page = check(
        found,
        "Matrix factorization beats simple rules at finding new products, but is worse than a simple rule at predicting all \
         purchases",
    );
    assert!(page.contains("The best simple rule, listing the products that were popular lately to everybody, named 3.0 %."));
    assert!(page.contains("The 95 % interval runs from +0.50 to +1.50."));
    let page = check(
        evaluation(0.031, Some((-0.005, 0.007))),
        "Matrix factorization is no better than a simple rule, as far as these data can tell",
    );
    assert!(page.contains("No difference that these data support."));
    check(
        evaluation(0.031, Some((0.001, 0.002))),
        "Matrix factorization beats simple rules, at finding new products and at predicting all purchases",
    );
    check(
        evaluation(0.001, Some((-0.03, -0.02))),
        "Matrix factorization is worse than a simple rule",
    );
    let page = check(
        evaluation(0.031, None),
        "Matrix factorization was measured without intervals: small differences mean nothing",
    );
    assert!(page.contains("small differences mean nothing"));
    let values = serde_json::json!({"part": "test", "rmse": 0.9, "mae": 0.7, "unclipped": {"rmse": 0.91, "mae": 0.71},
        "bias_only": {"rmse": 1.0, "mae": 0.8}, "interactions": 9, "interactions_left_out": 1, "range": [1.0, 5.0]});
    let values = serde_json::from_value(values).expect("errors");
    check(
        values,
        "Matrix factorization misses values by 10.0 % less than averages of users and products do",
    );
}

/// Whether the section of resources is the only one that tells of the run.
#[test]
fn what_a_run_took_stands_in_one_section() {
    let (one, other) = (whole("x", 5), {
        let mut page = whole("x", 5);
        page.work.phases[0].seconds = 99.0;
        page.work.resumed_from = None;
        // Seconds of epochs are told nowhere.
        page.course.epochs[0].seconds = 1e9;
        page
    });
    let [one, other] = [one, other].map(|page| render(&page));
    let without = |page: &str| {
        let (before, rest) = page
            .split_once("<section id=\"work\"")
            .expect("the section");
        let (_, after) = rest.split_once("</section>").expect("its end");
        (before.to_owned(), after.to_owned())
    };
    assert_ne!(one, other);
    assert_eq!(without(&one), without(&other));
}
