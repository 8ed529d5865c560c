//! A few users: what they had, and what the model would have recommended.

use super::html::{Html, classed, element, short, tagged, users_text};
use super::{Example, Product, Section, names, number, paragraph};

/// Products of a list that are shown.
pub const LISTED: usize = 10;

/// The section.
pub fn section(examples: &[Example]) -> Option<Section> {
    if examples.is_empty() {
        return None;
    }
    let held_out = examples.iter().any(|example| example.held_out.is_some());
    let then = if held_out {
        " A tick marks what the user did take in the part that was held out."
    } else {
        ""
    };
    let says = format!(
        "Users from busy to quiet, with what they had most in training and what the model lists for them among products that \
         they had not had.{then} No list was chosen for its looks."
    );
    let people = examples.iter().map(person);
    Some(Section {
        id: "examples",
        name: "Some lists",
        parts: vec![
            paragraph(says),
            element("div", &[("class", "people")], people),
        ],
    })
}

fn person(example: &Example) -> Html {
    let name = element("h3", &[], ["User ".into(), users_text(&example.user)]);
    let had = example.had.iter().take(LISTED).map(|had| {
        let amount = match &example.unit {
            None => classed("span", "times", format!("{} × ", number::plain(had.amount))),
            Some(unit) => tagged(
                "small",
                format!("{} {}: ", short(unit, 24), number::plain(had.amount)),
            ),
        };
        element("li", &[], [amount, product(&had.product)])
    });
    let recommended = example.recommended.iter().take(LISTED).map(|of| {
        let hit = of.hit.then(|| classed("span", "hit", " ✓ taken"));
        element("li", &[], [product(&of.product)].into_iter().chain(hit))
    });
    let hits = example
        .recommended
        .iter()
        .take(LISTED)
        .filter(|of| of.hit)
        .count();
    let came = example.held_out.map_or_else(String::new, |new| {
        format!(
            "; {} of these, and {} in all that were new to the user, were taken afterwards",
            hits,
            number::count(new)
        )
    });
    let says = format!(
        "{} in training{came}.",
        names::several(example.interactions, "interaction")
    );
    let two = [
        element(
            "div",
            &[],
            [tagged("h4", "Had most"), element("ul", &[], had)],
        ),
        element(
            "div",
            &[],
            [tagged("h4", "Recommended"), element("ol", &[], recommended)],
        ),
    ];
    element(
        "article",
        &[("class", "person")],
        [
            name,
            classed("p", "note", says),
            element("div", &[("class", "two")], two),
        ],
    )
}

fn product(product: &Product) -> Html {
    let about = product
        .about
        .as_ref()
        .map(|about| element("small", &[], [" ".into(), users_text(about)]));
    [users_text(&product.id)].into_iter().chain(about).collect()
}
