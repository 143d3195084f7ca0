//! What the numbers were measured on.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// A description of this machine, and the date.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: String,
    family: String,
    model: String,
    caches: String,
    date: String,
}

impl Machine {
    /// As Linux tells it; what it does not tell is a question mark.
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(key, _)| key.trim() == name).map_or("?".into(), |(_, value)| value.trim().to_owned())
        };
        let date = Command::new("date").args(["-u", "+%F"]).output();
        Machine {
            cpu: field("model name"),
            family: field("cpu family"),
            model: field("model"),
            caches: caches().join(", "),
            date: date.map_or("?".into(), |date| String::from_utf8_lossy(&date.stdout).trim().to_owned()),
        }
    }

    /// One line.
    pub fn line(&self) -> String {
        let Machine { cpu, family, model, caches, date } = self;
        format!("{cpu} (family {family}, model {model}; {caches}), one core, {date}")
    }
}

/// The data caches of the first core.
fn caches() -> Vec<String> {
    let cache = |index: u32| {
        let read = |file| fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}")).ok();
        let (level, kind, size) = (read("level")?, read("type")?, read("size")?);
        (kind.trim() != "Instruction").then(|| format!("L{} {}", level.trim(), size.trim()))
    };
    (0..5).filter_map(cache).collect()
}
