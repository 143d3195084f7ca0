//! Queries and the passages that answer them.

use std::path::Path;

use e5::Text;

/// Queries, each with its passage.
pub struct Pairs(pub Vec<Pair>);

/// A query and the passage that answers it, with their languages.
pub struct Pair {
    pub query_language: String,
    pub query: String,
    pub passage_language: String,
    pub passage: String,
}

impl Pairs {
    /// Reads a file of four fields a line, with tabs between.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| crate::at(path, error))?;
        let mut pairs = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            let [query_language, query, passage_language, passage] =
                fields.try_into().map_err(|_| crate::at(path, format!("line {} has not four fields", i + 1)))?;
            pairs.push(Pair { query_language, query, passage_language, passage });
        }
        if pairs.is_empty() { Err(crate::at(path, "no pairs")) } else { Ok(Pairs(pairs)) }
    }

    /// All queries, then all passages.
    pub fn texts(&self) -> Vec<Text<'_>> {
        let queries = self.0.iter().map(|pair| Text::Query(&pair.query));
        queries.chain(self.0.iter().map(|pair| Text::Passage(&pair.passage))).collect()
    }
}
