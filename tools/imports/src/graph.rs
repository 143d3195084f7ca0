//! Which file of a crate imports which, and the circles among them.
//!
//! An edge a → b: file a names an item through module b, in a `use` or in a path inside code, macros included, tests and
//! comments not. `mod b;` is no edge, `pub use b::Item` is one. A name at the root of the crate counts for the module that
//! the root re-exports it from; the root itself is no node.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The path of a module: `["matmul", "tile"]`; empty for the root.
type Module = Vec<String>;

/// The imports among the files of a crate.
pub struct Imports {
    /// The crate's files, relative to its `src`.
    files: Vec<String>,
    /// For every file, the files that it imports, each with the line and path that first names it.
    edges: Vec<BTreeMap<usize, Place>>,
    /// For every file, its lines.
    lines: Vec<usize>,
}

/// A path in a file.
#[derive(Clone, Debug)]
struct Place {
    line: usize,
    path: String,
}

/// Files that import each other in a circle: each imports the next one, the last one the first one.
pub struct Circle<'a> {
    imports: &'a Imports,
    files: Vec<usize>,
}

impl Imports {
    /// Reads all files of a crate, from the folder with its `lib.rs`.
    pub fn of(src: &Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        list(src, &mut paths)?;
        paths.sort();
        let mut modules = BTreeMap::new();
        let mut sources = Vec::new();
        for path in &paths {
            let text = fs::read_to_string(path)?;
            let relative = path.strip_prefix(src).expect("it was found there").with_extension("");
            let module: Module = relative.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            let module = if module == ["lib"] { Module::new() } else { module };
            modules.insert(module.clone(), sources.len());
            sources.push((module, text));
        }
        let mut graph = Graph {
            modules,
            root: BTreeMap::new(),
            aliases: BTreeMap::new(),
            found: Vec::new(),
            tests: BTreeSet::new(),
        };
        let root = sources.iter().position(|(module, _)| module.is_empty());
        let root = root.ok_or_else(|| io::Error::other("there is no lib.rs"))?;
        // The root's re-exports first, since other files name items through them.
        graph.scan(&sources[root])?;
        graph.root = std::mem::take(&mut graph.aliases);
        let mut edges = Vec::new();
        for (file, source) in sources.iter().enumerate() {
            graph.aliases.clear();
            graph.found.clear();
            graph.scan(source)?;
            let mut imported = BTreeMap::new();
            for (to, place) in graph.found.drain(..).filter(|&(to, _)| to != file && to != root && file != root) {
                imported.entry(to).or_insert(place);
            }
            edges.push(imported);
        }
        for test in &graph.tests {
            for (file, _) in sources.iter().enumerate().filter(|(_, (module, _))| module.starts_with(test)) {
                edges[file].clear();
            }
        }
        let name = |path: &PathBuf| path.strip_prefix(src).expect("it was found there").display().to_string();
        let lines = sources.iter().map(|(_, text)| text.lines().count()).collect();
        Ok(Imports { files: paths.iter().map(name).collect(), edges, lines })
    }

    /// Groups of files of which each imports every other one, directly or not.
    pub fn groups(&self) -> Vec<Vec<&str>> {
        let reach: Vec<BTreeSet<usize>> = (0..self.files.len()).map(|file| self.reachable(file)).collect();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for file in (0..self.files.len()).filter(|&file| reach[file].contains(&file)) {
            match groups.iter_mut().find(|group| reach[group[0]].contains(&file) && reach[file].contains(&group[0])) {
                Some(group) => group.push(file),
                None => groups.push(vec![file]),
            }
        }
        groups.into_iter().map(|group| group.into_iter().map(|file| &*self.files[file]).collect()).collect()
    }

    /// A shortest circle through every file that is in one, each circle once.
    pub fn circles(&self) -> Vec<Circle<'_>> {
        let mut seen = BTreeSet::new();
        let mut circles: Vec<Circle<'_>> = (0..self.files.len())
            .filter_map(|file| self.circle_through(file))
            .filter(|files| seen.insert(files.iter().copied().collect::<BTreeSet<_>>()))
            .map(|files| Circle { imports: self, files })
            .collect();
        circles.sort_by_key(|circle| circle.files.len());
        circles
    }

    /// Files of more lines than that, with their lines.
    pub fn longer_than(&self, lines: usize) -> Vec<(&str, usize)> {
        let files = self.files.iter().map(String::as_str).zip(self.lines.iter().copied());
        files.filter(|&(_, length)| length > lines).collect()
    }

    /// Every file that a file imports, directly or not; itself only if it is in a circle.
    fn reachable(&self, from: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(file) = next.pop() {
            next.extend(self.edges[file].keys().filter(|&&to| reached.insert(to)));
        }
        reached
    }

    fn circle_through(&self, start: usize) -> Option<Vec<usize>> {
        let mut before = BTreeMap::new();
        let mut next = VecDeque::from([start]);
        while let Some(file) = next.pop_front() {
            for &to in self.edges[file].keys() {
                if to == start {
                    let mut files = vec![file];
                    while let Some(&previous) = before.get(files.last().expect("it has one")) {
                        files.push(previous);
                    }
                    files.reverse();
                    return Some(files);
                }
                if let Entry::Vacant(unseen) = before.entry(to) {
                    unseen.insert(file);
                    next.push_back(to);
                }
            }
        }
        None
    }
}

impl fmt::Display for Circle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Circle { imports, files } = self;
        for (i, &from) in files.iter().enumerate() {
            let Place { line, path } = &imports.edges[from][&files[(i + 1) % files.len()]];
            write!(f, "{}{}:{line} ({path})", if i == 0 { "" } else { " → " }, imports.files[from])?;
        }
        write!(f, " → {}", imports.files[files[0]])
    }
}

/// Every Rust file below a folder.
fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// What is known while a file is read.
struct Graph {
    /// The files of all modules.
    modules: BTreeMap<Module, usize>,
    /// For every name at the root of the crate, the module that it comes from.
    root: BTreeMap<String, Module>,
    /// For every name that this file imports, the module that it is or comes from.
    aliases: BTreeMap<String, Module>,
    /// The files that this file names items through.
    found: Vec<(usize, Place)>,
    /// The modules in files of their own that are compiled for tests only.
    tests: BTreeSet<Module>,
}

impl Graph {
    fn scan(&mut self, (module, text): &(Module, String)) -> io::Result<()> {
        let tokens: TokenStream = text.parse().map_err(|error| io::Error::other(format!("{module:?}: {error}")))?;
        // Twice: a path may stand before the `use` that says what its first name is.
        self.walk(tokens.clone(), module);
        self.found.clear();
        self.walk(tokens, module);
        Ok(())
    }

    fn walk(&mut self, tokens: TokenStream, module: &Module) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.step(&tokens, at, module);
        }
    }

    /// Reads what begins at a token, and says where it ends.
    fn step(&mut self, tokens: &[TokenTree], at: usize, module: &Module) -> usize {
        match &tokens[at] {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let Some(TokenTree::Group(attribute)) = tokens.get(at + 1) {
                    if is_cfg_test(attribute.stream()) {
                        let end = end_of_item(tokens, at + 2);
                        if let [TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Punct(_)] =
                            &tokens[at + 2..end]
                            && keyword == "mod"
                        {
                            self.tests.insert(child(module, &name.to_string()));
                        }
                        return end;
                    }
                    return at + 2;
                }
                at + 1
            }
            TokenTree::Group(group) => {
                self.walk(group.stream(), module);
                at + 1
            }
            TokenTree::Ident(ident) if ident == "use" => {
                let end = (at..tokens.len()).find(|&i| is_punct(&tokens[i], ';')).unwrap_or(tokens.len());
                self.use_tree(&tokens[at + 1..end], &[], module);
                end + 1
            }
            TokenTree::Ident(ident) if ident == "mod" => match (tokens.get(at + 1), tokens.get(at + 2)) {
                (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) => {
                    self.walk(body.stream(), &child(module, &name.to_string()));
                    at + 3
                }
                _ => at + 1,
            },
            TokenTree::Ident(ident) if ident == "pub" => match tokens.get(at + 1) {
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => at + 2,
                _ => at + 1,
            },
            TokenTree::Ident(_) => {
                let (path, end) = path_at(tokens, at);
                if path.len() > 1 {
                    let line = tokens[at].span().start().line;
                    self.name(&path, module, line);
                }
                end
            }
            _ => at + 1,
        }
    }

    /// The paths of a `use`, behind those that stand before its braces.
    fn use_tree(&mut self, tokens: &[TokenTree], before: &[String], module: &Module) {
        for branch in tokens.split(|token| is_punct(token, ',')).filter(|branch| !branch.is_empty()) {
            let (path, mut end) = path_at(branch, 0);
            let mut path: Vec<String> = before.iter().cloned().chain(path).collect();
            while end < branch.len() && is_punct(&branch[end], ':') {
                end += 1;
            }
            match branch.get(end) {
                Some(TokenTree::Group(group)) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.use_tree(&inner, &path, module);
                }
                rest => {
                    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
                        path.pop();
                    }
                    let line = branch[0].span().start().line;
                    let target = self.name(&path, module, line);
                    let renamed = rest.is_some_and(|token| matches!(token, TokenTree::Ident(ident) if ident == "as"));
                    let alias =
                        if renamed { branch.get(end + 1).map(ToString::to_string) } else { path.last().cloned() };
                    if let (Some(alias), Some(target)) = (alias, target) {
                        self.aliases.insert(alias, target);
                    }
                }
            }
        }
    }

    /// Notes which file a path names an item through; the module that its last name is, or is found in.
    fn name(&mut self, path: &[String], module: &Module, line: usize) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut rest = rest.iter().peekable();
        let mut target = match first.as_str() {
            "crate" => Module::new(),
            "self" => module.clone(),
            "super" => parent(module),
            name if self.modules.contains_key(&child(module, name)) => child(module, name),
            name => self.aliases.get(name).cloned()?,
        };
        while rest.next_if(|name| *name == "super").is_some() {
            target = parent(&target);
        }
        while let Some(name) = rest.next_if(|name| self.modules.contains_key(&child(&target, name))) {
            target = child(&target, name);
        }
        // What the root re-exports comes from where the root has it from.
        if let (true, Some(name)) = (target.is_empty(), rest.peek()) {
            target = self.root.get(*name).cloned().unwrap_or_default();
        }
        // A module inside a file belongs to the file.
        let mut file = target.clone();
        while !self.modules.contains_key(&file) {
            file.pop();
        }
        self.found.push((self.modules[&file], Place { line, path: path.join("::") }));
        Some(target)
    }
}

fn child(module: &Module, name: &str) -> Module {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

fn parent(module: &Module) -> Module {
    module[..module.len().saturating_sub(1)].to_vec()
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// The names of the path that begins at a token, and where it ends.
fn path_at(tokens: &[TokenTree], mut at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        path.push(name.to_string());
        at += 1;
        let colons = tokens[at..].iter().take(2).filter(|token| is_punct(token, ':')).count();
        match tokens.get(at + 2) {
            Some(TokenTree::Ident(_)) if colons == 2 => at += 2,
            _ => break,
        }
    }
    (path, at)
}

/// Whether an attribute is `cfg(test)`, or has `test` among other conditions.
fn is_cfg_test(attribute: TokenStream) -> bool {
    let mut tokens = attribute.into_iter();
    let is_cfg = matches!(tokens.next(), Some(TokenTree::Ident(name)) if name == "cfg");
    let text = tokens.next().map(|conditions| conditions.to_string()).unwrap_or_default();
    let words = || text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    is_cfg && words().any(|word| word == "test") && !words().any(|word| word == "not")
}

/// Where the item that begins at a token ends.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let is_use = tokens[at..].iter().take(3).any(|token| matches!(token, TokenTree::Ident(ident) if ident == "use"));
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => !is_use && group.delimiter() == Delimiter::Brace,
        token => is_punct(token, ';'),
    };
    tokens[at..].iter().position(is_end).map_or(tokens.len(), |length| at + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The edges among files with these texts.
    fn edges(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let folder = std::env::temp_dir().join(format!("imports-{}-{}", std::process::id(), files[0].1.len()));
        for (file, text) in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let imports = Imports::of(&folder).unwrap();
        fs::remove_dir_all(folder).unwrap();
        let name = |file: usize| imports.files[file].clone();
        let of = |(from, to): (usize, &BTreeMap<usize, Place>)| {
            to.keys().map(move |&to| (name(from), name(to))).collect::<Vec<_>>()
        };
        let mut edges: Vec<_> = imports.edges.iter().enumerate().flat_map(of).collect();
        edges.sort();
        edges
    }

    #[test]
    fn every_way_to_name_an_item() {
        let files = [
            (
                "lib.rs",
                "mod a; mod b; mod c; mod d; pub use d::{D, inner::E as F}; mod user; mod macros; mod own; mod tests;",
            ),
            ("a.rs", "mod child; pub use child::Child; pub struct A;"),
            ("a/child.rs", "pub(in crate::a) struct Child; fn f() -> super::A { loop {} }"),
            ("b.rs", "use crate::{a::{self, child::Child as X}, c as see}; fn f() { see::f(); a::g() }"),
            ("c.rs", "fn f() { let x = crate::b::f::<u8>(); }"),
            ("d.rs", "pub struct D; pub mod inner { pub struct E; pub use super::D; }"),
            ("user.rs", "use crate::F; #[cfg(test)] mod tests;"),
            ("macros.rs", "macro_rules! m { ($x:ident) => { $crate::c::$x } }"),
            ("user/tests.rs", "use super::F; use crate::a::A;"),
            ("own.rs", "use std::fmt; mod inner { use super::X; use crate::own::Y; } struct X; struct Y;"),
            ("tests.rs", "#[cfg(test)] use crate::{a, b}; #[cfg(test)] mod tests { use crate::c::C; } // crate::d::D"),
        ];
        let expected = [
            ("a.rs", "a/child.rs"),
            ("a/child.rs", "a.rs"),
            ("b.rs", "a.rs"),
            ("b.rs", "a/child.rs"),
            ("b.rs", "c.rs"),
            ("c.rs", "b.rs"),
            ("macros.rs", "c.rs"),
            ("user.rs", "d.rs"),
        ];
        assert_eq!(edges(&files), expected.map(|(from, to)| (from.to_owned(), to.to_owned())));
    }
}
