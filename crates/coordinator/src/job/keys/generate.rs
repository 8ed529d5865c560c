//! Data of one's own making: `[generate]`.

use super::{Key, MANY, choice, count, real, text, with_default, with_flag};

pub(super) const KEYS: &[Key] = &[
    with_flag(
        count(
            "generate.users",
            1,
            4_000_000_000,
            Some("10000"),
            "Users, those included who happen to buy nothing.",
        ),
        "users",
    ),
    with_flag(
        count(
            "generate.products",
            1,
            1_000_000_000,
            Some("2000"),
            "Products.",
        ),
        "products",
    ),
    with_flag(
        count(
            "generate.days",
            1,
            36_500,
            Some("364"),
            "Days, from `start` on.",
        ),
        "days",
    ),
    with_flag(
        count(
            "generate.interactions",
            1,
            1_000_000_000_000,
            Some("500000"),
            "Rows: exactly so many.",
        ),
        "interactions",
    ),
    with_flag(
        count("generate.rank", 1, 512, Some("16"), "Planted factors."),
        "rank",
    ),
    with_flag(
        count(
            "generate.departments",
            1,
            512,
            Some("8"),
            "Departments of products, each with factors of its own, and as many segments of users, each at home in one. At most `rank`; 1: none.",
        ),
        "departments",
    ),
    with_flag(
        count(
            "generate.interests",
            1,
            16,
            Some("3"),
            "Factors that a user is interested in, with weights 1, 1/2, 1/3 and so on.",
        ),
        "interests",
    ),
    with_flag(
        real(
            "generate.loyalty",
            0.0,
            1.0,
            Some("0.5"),
            "How likely a user's further interests are of the user's own department, beyond chance.",
        ),
        "loyalty",
    ),
    with_flag(
        real(
            "generate.contrast",
            0.0,
            5.0,
            Some("1.5"),
            "How far apart a factor holds its products: the spread of the logarithm of their weights. 0: as far as they are popular.",
        ),
        "contrast",
    ),
    with_flag(
        real(
            "generate.popularity",
            0.0,
            1.0,
            Some("0.2"),
            "The share of rows that follow popularity and no taste. 1: no structure at all.",
        ),
        "popularity",
    ),
    with_flag(
        real(
            "generate.zipf",
            0.0,
            3.0,
            Some("0.8"),
            "The exponent of Zipf's law of products.",
        ),
        "zipf",
    ),
    with_flag(
        real(
            "generate.activity",
            0.0,
            3.0,
            Some("1.0"),
            "The spread of the logarithm of users' rows: 0 all alike, 1 as in a shop.",
        ),
        "activity",
    ),
    with_flag(
        real(
            "generate.season",
            0.0,
            20.0,
            Some("0.0"),
            "How sharp the seasons of factors are, each with its height at another time: 0 none, 1 clear, 4 nearly all within a third of the cycle.",
        ),
        "season",
    ),
    with_flag(
        count(
            "generate.season_days",
            2,
            36_500,
            Some("364"),
            "The length of the cycle of seasons.",
        ),
        "season-days",
    ),
    with_flag(
        real(
            "generate.drift",
            0.0,
            1.0,
            Some("0.0"),
            "The share of a user's taste that is another one on the last day; it grows from 0 on the first.",
        ),
        "drift",
    ),
    with_flag(
        real(
            "generate.repeat",
            0.0,
            1.0,
            Some("0.0"),
            "The share of rows that buy again what an earlier row of the user bought.",
        ),
        "repeat",
    ),
    with_flag(
        real(
            "generate.attributes",
            0.0,
            1.0,
            Some("0.8"),
            "How much attributes tell: the share of segments and departments that are true, and the correlation of ages and prices with factors.",
        ),
        "attributes",
    ),
    with_flag(
        count(
            "generate.friends",
            0,
            1000,
            Some("0"),
            "Edges from a user to others, on average. 0: none are written, unless there are influencers.",
        ),
        "friends",
    ),
    with_flag(
        real(
            "generate.homophily",
            0.0,
            1.0,
            Some("0.8"),
            "The share of edges that lead to a user of the same first interest, beyond chance.",
        ),
        "homophily",
    ),
    with_flag(
        count(
            "generate.influencers",
            0,
            1_000_000,
            Some("0"),
            "Users to whom others lead who have no other edge.",
        ),
        "influencers",
    ),
    with_flag(
        count(
            "generate.followers",
            1,
            10000,
            Some("50"),
            "How many lead to each influencer.",
        ),
        "followers",
    ),
    with_flag(
        count(
            "generate.quantity",
            1,
            255,
            Some("1"),
            "Rows are of 1 up to so many pieces, in a column `quantity`. 1: there is no such column.",
        ),
        "quantity",
    ),
    with_flag(
        choice(
            "generate.ids",
            &["integer", "text"],
            "integer",
            "Whether ids are numbers or names.",
        ),
        "ids",
    ),
    with_flag(
        with_default(
            text("generate.start", "The first day, as YYYY-MM-DD."),
            "2024-01-01",
        ),
        "start",
    ),
    with_flag(
        choice(
            "generate.layout",
            &["files", "days"],
            "files",
            "Files with a column `day`, or a folder for every day (`day=2024-01-01`) and no such column.",
        ),
        "layout",
    ),
    with_flag(
        count(
            "generate.rows_per_file",
            1,
            50_000_000,
            Some("2000000"),
            "Rows of a file, about. A file has all rows of its users, by day; with `layout` = \"days\" so many rows are spread over the files of all days.",
        ),
        "rows-per-file",
    ),
    with_flag(
        count("generate.seed", 0, MANY, Some("0"), "Of all that is drawn."),
        "seed",
    ),
];
