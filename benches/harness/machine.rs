//! A description of the machine that was measured.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// A description of this machine, and the date.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: String,
    family: String,
    model: String,
    /// Hardware threads that this process may run on.
    pub threads: usize,
    /// Data caches, from level 1 upwards.
    pub caches: Vec<Cache>,
    date: String,
}

/// A data cache of the first core.
#[derive(Debug, Serialize)]
pub struct Cache {
    /// 1 for the one nearest to the core.
    pub level: u32,
    /// Its capacity.
    pub bytes: usize,
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
            threads: std::thread::available_parallelism().map_or(1, |threads| threads.get()),
            caches: (0..5).filter_map(cache).collect(),
            date: date.map_or("?".into(), |date| String::from_utf8_lossy(&date.stdout).trim().to_owned()),
        }
    }

    /// One line.
    pub fn line(&self) -> String {
        let Machine { cpu, family, model, date, .. } = self;
        let caches: Vec<_> =
            self.caches.iter().map(|cache| format!("L{} {}K", cache.level, cache.bytes >> 10)).collect();
        format!("{cpu} (family {family}, model {model}; {}), {date}", caches.join(", "))
    }

    /// The name of its folder in `results/`.
    pub fn folder(&self) -> String {
        let words = self.cpu.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !["", "R", "TM"].contains(word));
        let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
        format!("{}-family-{}", words.join("-"), self.family)
    }
}

fn cache(index: u32) -> Option<Cache> {
    let read = |file| fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}")).ok();
    let (level, kind, size) = (read("level")?, read("type")?, read("size")?);
    let bytes = size.trim().strip_suffix('K')?.parse::<usize>().ok()? << 10;
    (kind.trim() != "Instruction").then_some(Cache { level: level.trim().parse().ok()?, bytes })
}
