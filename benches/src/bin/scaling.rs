//! The report on clusters that nobody here has: `cargo run --release -p benches --bin scaling -- --costs benches/costs.json
//! --out docs` writes the charts and puts the tables between the marks of `docs/scaling.md`.

use benches::scaling::report::{Courses, charts, markdown};
use benches::scaling::shape::shapes;
use benches::scaling::{Costs, Machine, Trouble, chart, run};
use std::path::PathBuf;
use std::time::Instant;

const HELP: &str = "scaling --costs FILE --out FOLDER [--workers 10,20,...] [--shapes retailer,ratings,links] [--threads 16] \
                    [--memory-gib 76] [--page-cache-gib 50] [--network-gbytes 1.25]\n\nSimulates epochs in virtual time through the coordinator's \
                    own state machine, with measured costs, and writes FOLDER/scaling-*.svg and the tables of FOLDER/scaling.md.";
const BEGIN: &str = "<!-- made by `scaling`: begin -->\n";
const END: &str = "<!-- made by `scaling`: end -->\n";

fn main() {
    if let Err(sentence) = work() {
        eprintln!("{sentence}");
        std::process::exit(64);
    }
}

fn work() -> Result<(), String> {
    let (mut costs, mut out) = (None, None);
    let mut workers = vec![10, 20, 50, 100, 200, 500, 1000];
    let mut named: Option<Vec<String>> = None;
    let mut machine = Machine {
        threads: 16,
        memory_bytes: 76 << 30,
        page_cache_bytes: 50 << 30,
        network_gbytes: 1.25,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        if flag == "--help" {
            println!("{HELP}");
            return Ok(());
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("`{flag}` needs a value\n{HELP}"))?;
        let number = || {
            value
                .parse::<f64>()
                .ok()
                .filter(|number| *number > 0.0)
                .ok_or_else(|| format!("`{flag} {value}`: give a number above 0"))
        };
        match flag.as_str() {
            "--costs" => costs = Some(PathBuf::from(&value)),
            "--out" => out = Some(PathBuf::from(&value)),
            "--workers" => {
                let parsed: Result<Vec<u32>, _> = value.split(',').map(str::parse).collect();
                workers = parsed
                    .map_err(|_| format!("`--workers {value}`: give numbers, as in 10,100"))?;
                if workers.contains(&0) {
                    return Err("`--workers`: 0 workers do nothing, give 1 or more".to_owned());
                }
            }
            "--shapes" => named = Some(value.split(',').map(str::to_owned).collect()),
            "--threads" => machine.threads = number()? as u32,
            "--memory-gib" => machine.memory_bytes = (number()? * f64::from(1 << 30)) as u64,
            "--page-cache-gib" => {
                machine.page_cache_bytes = (number()? * f64::from(1 << 30)) as u64;
            }
            "--network-gbytes" => machine.network_gbytes = number()?,
            _ => return Err(format!("`{flag}` is no flag of this program\n{HELP}")),
        }
    }
    let (costs, out) = costs.zip(out).ok_or_else(|| HELP.to_owned())?;
    let text =
        std::fs::read_to_string(&costs).map_err(|error| format!("{}: {error}", costs.display()))?;
    let costs = Costs::parse(&text).map_err(|error| format!("{}: {error}", costs.display()))?;
    let trouble = Trouble {
        slow_share: 0.02,
        slow_factor: 2.0,
        hiccup_every: 1000,
        hiccup_factor: 10.0,
    };
    let mut all = Vec::new();
    let wanted = |name: &str| {
        named
            .as_ref()
            .is_none_or(|named| named.iter().any(|one| one == name))
    };
    for shape in shapes().into_iter().filter(|shape| wanted(&shape.name)) {
        let mut of = Courses {
            calm: Vec::new(),
            troubled: Vec::new(),
            shape,
        };
        for &count in &workers {
            for (trouble, to) in [
                (Trouble::default(), &mut of.calm),
                (trouble, &mut of.troubled),
            ] {
                let began = Instant::now();
                let course = run(&of.shape, machine, count, trouble, &costs)?;
                eprintln!(
                    "{} on {count}: {:.1} s an epoch, simulated in {:.1} s, {:.1} µs an event",
                    of.shape.name,
                    course.epoch_seconds,
                    began.elapsed().as_secs_f64(),
                    began.elapsed().as_secs_f64() * 1e6 / course.events as f64
                );
                to.push(course);
            }
        }
        all.push(of);
    }
    let tables = markdown(&all, machine, trouble, &costs);
    let page = out.join("scaling.md");
    let kept = std::fs::read_to_string(&page).unwrap_or_else(|_| format!("{BEGIN}{END}"));
    let (head, rest) = kept
        .split_once(BEGIN)
        .ok_or_else(|| format!("{} has no line `{}`", page.display(), BEGIN.trim()))?;
    let (_, tail) = rest
        .split_once(END)
        .ok_or_else(|| format!("{} has no line `{}`", page.display(), END.trim()))?;
    let write = |path: PathBuf, text: String| {
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write(page.clone(), format!("{head}{BEGIN}{tables}{END}{tail}"))?;
    for (name, drawn) in charts(&all) {
        write(out.join(name), chart::svg(&drawn))?;
    }
    Ok(())
}
