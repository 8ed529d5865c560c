//! The job beside what is generated: it runs as it stands.

use super::files::has_edges;
use crate::job::settings::Generate;

/// A week; the first day of the default start is a Monday.
const WEEK: u32 = 7;

/// The text of `job.toml`.
pub fn text(wish: &Generate) -> String {
    let world = &wish.world;
    let weeks = world.days / WEEK;
    let split = if weeks >= 5 {
        let held_out = (weeks / 10).clamp(1, 4);
        format!("validation_bins = {held_out}\ntest_bins = {held_out}")
    } else {
        "validation_fraction = 0.1               # too few weeks to hold any out\ntest_fraction = 0.1".to_owned()
    };
    let duplicates = if world.quantity > 1 {
        "value = \"quantity\"\nduplicates = \"sum\""
    } else {
        "duplicates = \"count\"                    # each purchase counts 1"
    };
    let edges = if has_edges(wish) {
        "\n[input.user_edges]\nfiles = [\"edges\"]\n"
    } else {
        ""
    };
    let rank = (world.rank + 1).next_multiple_of(16).min(512);
    format!(
        "# Generated purchases (docs/generate.md); `generate.json` says of what, `truth` what was planted. Paths start at this file.\n\
         # Attributes are there too: take the # away from their lines to use them.\n\
         [input]\n\
         files = [\"interactions\"]\n\
         user = \"user\"\n\
         product = \"product\"\n\
         time = \"day\"\n\
         time_bin = \"week\"\n\
         {duplicates}\n\
         {edges}\n\
         # [input.user_attributes]\n\
         # files = [\"users\"]\n\
         # [input.product_attributes]\n\
         # files = [\"products\"]\n\
         \n\
         [split]\n\
         {split}\n\
         \n\
         [model]\n\
         kind = \"als\"\n\
         preset = \"hu\"\n\
         rank = {rank}                               # {} factors are planted, and popularity\n\
         epochs = 10\n\
         \n\
         [output]\n\
         data = \"strata/data\"\n\
         model = \"strata/model\"\n",
        world.rank
    )
}
