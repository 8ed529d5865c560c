//! Pages in a real browser: Chromium, driven by Playwright's Python, looked over by axe.

use crate::process::output_of;
use crate::python::python;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Playwright drives the browser that the machine has: it downloads none.
const PACKAGES: [&str; 2] = ["playwright==1.65.2", "axe-playwright-python==0.1.8"];
/// Names of Chromium.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
];

/// Opens the page on a desk, in the dark, on a phone and on paper, and prints what it finds as JSON.
const LOOK: &str = r#"
import json, sys
from playwright.sync_api import sync_playwright
from axe_playwright_python.sync_playwright import Axe
browser, page_file, pictures = sys.argv[1:4]
views = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
found = {}
with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
    for name, view in views.items():
        context = chromium.new_context(**view)
        page = context.new_page()
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append("dialog " + dialog.message), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto("file://" + page_file)
        page.screenshot(path=f"{pictures}/{name}.png", full_page=True)
        checked = Axe().run(page).response
        found[name] = {
            "said": said,
            "asked": [url for url in asked if url != "file://" + page_file],
            "width": page.evaluate("document.documentElement.scrollWidth"),
            "violations": [
                {"rule": v["id"], "nodes": [node["html"][:200] for node in v["nodes"][:5]]}
                for v in checked["violations"]
            ],
            "passed": len(checked["passes"]),
        }
        if name == "light":
            found["background"] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.pdf(path=f"{pictures}/paper.pdf", format="A4", print_background=True)
        if name == "dark":
            found["dark_background"] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            page.emulate_media(media="print")
            found["paper_background"] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        context.close()
    chromium.close()
print(json.dumps(found))
"#;

/// A browser and what drives it.
pub struct Browser {
    python: PathBuf,
    browser: PathBuf,
}

impl Browser {
    /// That of this machine; the packages are installed below `within`.
    ///
    /// # Errors
    /// Where there is none, or its driver cannot be had: a notice is then all that is left of a test.
    pub fn find(within: &str) -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let named = BROWSERS
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        let browser = named
            .into_iter()
            .find(|path| path.is_file())
            .ok_or("no Chromium is installed (Debian: `apt-get install chromium`)")?;
        let python = python(within, "browser", &PACKAGES)?;
        Ok(Browser { python, browser })
    }

    /// What a page shows on a desk, in the dark, on a phone, and on paper; pictures go into a folder.
    ///
    /// # Errors
    /// Where the browser does not start: it may lack what it needs of the machine.
    pub fn look(&self, page: &Path, pictures: &Path) -> Result<Value, String> {
        self.run(LOOK, &[page.as_os_str(), pictures.as_os_str()])
    }

    /// What a script prints as JSON, which is given the browser and then the arguments.
    ///
    /// # Errors
    /// Where it fails, with what it said.
    pub fn run(&self, script: &str, arguments: &[&OsStr]) -> Result<Value, String> {
        let mut command = Command::new(&self.python);
        command
            .args(["-c", script])
            .arg(&self.browser)
            .args(arguments);
        let output = output_of(&mut command);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }
}
