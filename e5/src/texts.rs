//! What is printed of some texts.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use e5::Embeddings;
use serde_json::json;

use crate::report::{digest, table};

/// Texts and their embeddings: all values as JSON, the first of them in a table.
pub fn embedded(texts: &[String], embeddings: &Embeddings, as_json: bool) -> Result<String, serde_json::Error> {
    let each = texts.iter().enumerate();
    if as_json {
        let of_text = |(i, text): (usize, &String)| {
            let (tokens, embedding) = (embeddings.tokens[i], embeddings.of(i));
            json!({ "text": text, "tokens": tokens, "embedding": embedding })
        };
        return Ok(serde_json::to_string(&json!({ "embeddings": each.map(of_text).collect::<Vec<_>>() }))? + "\n");
    }
    let mut table = table(UTF8_FULL_CONDENSED, &["text", "tokens", "embedding", "digest"]);
    for (i, text) in each {
        let values: Vec<String> = embeddings.of(i).iter().take(4).map(|value| format!("{value:.4}")).collect();
        let digest = digest(embeddings.of(i));
        table.add_row([text.clone(), embeddings.tokens[i].to_string(), values.join(" ") + " …", digest]);
    }
    Ok(format!("{table}\n"))
}

/// Passages by their similarity to the query, whose embedding is before theirs.
pub fn ranked(passages: &[String], embeddings: &Embeddings, as_json: bool) -> Result<String, serde_json::Error> {
    let cosine = |(i, passage)| (embeddings.cosine(0, embeddings, i + 1), passage);
    let mut ranked: Vec<(f64, &String)> = passages.iter().enumerate().map(cosine).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    if as_json {
        let passages = ranked.iter().map(|(cosine, passage)| json!({ "passage": passage, "cosine": cosine }));
        return Ok(serde_json::to_string(&json!({ "passages": passages.collect::<Vec<_>>() }))? + "\n");
    }
    let mut table = table(UTF8_FULL_CONDENSED, &["cosine", "passage"]);
    for (cosine, passage) in ranked {
        table.add_row([format!("{cosine:.4}"), passage.clone()]);
    }
    Ok(format!("{table}\n"))
}
