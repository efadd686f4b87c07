//! What the code of `observer/src` mentions: comments, texts and code for tests are left out, `use` trees are written out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// One source file, without its code for tests.
pub(super) struct Source {
    /// Below the folder of sources, such as `diagnose/bind/verdict.rs`.
    pub(super) name: String,
    /// Every path of two or more segments, in order.
    pub(super) mentions: Vec<Mention>,
}

/// A path as the code writes it, with `super` and `self` resolved: `crate::model::Event`, `std::fs::read`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) line: usize,
    pub(super) path: String,
}

impl Source {
    /// The part of the crate that the file belongs to: the folder or the file at the top.
    pub(super) fn module(&self) -> &str {
        self.name.split('/').next().map_or("", |top| top.trim_end_matches(".rs"))
    }
}

/// Every file below `folder` that is compiled outside tests, by name.
pub(super) fn read(folder: &Path) -> Result<Vec<Source>> {
    let (mut sources, mut for_tests) = (Vec::new(), BTreeSet::new());
    for path in super::size::files(folder)? {
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.strip_prefix(folder)?.display().to_string();
        let (code, gated) = without_tests(code(&text));
        let module = module_path(&name).join("/");
        for_tests.extend(gated.into_iter().map(|gated| format!("{module}/{gated}")));
        sources.push(Source { mentions: mentions(&name, &code), name });
    }
    sources.retain(|source| {
        let path = module_path(&source.name).join("/");
        !for_tests.iter().any(|gated| {
            let gated = gated.trim_start_matches('/');
            path.strip_prefix(gated).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    });
    Ok(sources)
}

/// `a/b.rs` and `a/b/mod.rs` → a, b; the roots of a crate → nothing.
fn module_path(name: &str) -> Vec<String> {
    let stem = name.trim_end_matches(".rs");
    let stem = stem.trim_end_matches("/mod");
    if matches!(stem, "lib" | "main") {
        return Vec::new();
    }
    stem.split('/').map(str::to_owned).collect()
}

/// The text with blanks for comments and literals, line by line as before.
fn code(text: &str) -> String {
    let text: Vec<char> = text.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let mut code = String::with_capacity(text.len());
    let mut here = 0;
    while here < text.len() {
        let end = match at(here) {
            '/' if at(here + 1) == '/' => {
                (here..text.len()).find(|&index| at(index) == '\n').unwrap_or(text.len())
            }
            '/' if at(here + 1) == '*' => end_of_comment(&text, here),
            '"' => end_of_string(&text, here),
            'r' if !is_word(at(here.wrapping_sub(1))) || at(here.wrapping_sub(1)) == 'b' => {
                end_of_raw_string(&text, here)
            }
            // Anything else with a quote before it is a lifetime.
            '\'' if at(here + 1) == '\\' => (here + 3..text.len())
                .find(|&index| at(index) == '\'')
                .map_or(text.len(), |end| end + 1),
            '\'' if at(here + 2) == '\'' => here + 3,
            _ => here,
        };
        if end == here {
            code.push(at(here));
            here += 1;
        } else {
            code.extend((here..end).map(|index| if at(index) == '\n' { '\n' } else { ' ' }));
            here = end;
        }
    }
    code
}

/// Comments of this form may hold each other.
fn end_of_comment(text: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut here = start;
    while here + 1 < text.len() {
        match (text[here], text[here + 1]) {
            ('/', '*') => (depth, here) = (depth + 1, here + 2),
            ('*', '/') => (depth, here) = (depth - 1, here + 2),
            _ => here += 1,
        }
        if depth == 0 {
            return here;
        }
    }
    text.len()
}

fn end_of_string(text: &[char], start: usize) -> usize {
    let mut here = start + 1;
    while here < text.len() && text[here] != '"' {
        here += if text[here] == '\\' { 2 } else { 1 };
    }
    (here + 1).min(text.len())
}

/// `start` if what begins there is another word with an r.
fn end_of_raw_string(text: &[char], start: usize) -> usize {
    let hashes = text[start + 1..].iter().take_while(|&&c| c == '#').count();
    if text.get(start + 1 + hashes) != Some(&'"') {
        return start;
    }
    let closing: Vec<char> = std::iter::once('"').chain((0..hashes).map(|_| '#')).collect();
    let body = start + 2 + hashes;
    let length = text[body..].windows(closing.len()).position(|window| window == closing);
    length.map_or(text.len(), |length| body + length + closing.len())
}

/// Blanks whatever `#[cfg(test)]` stands before, and names the modules in other files among it.
fn without_tests(mut code: String) -> (String, Vec<String>) {
    const GATE: &str = "#[cfg(test)]";
    let mut modules = Vec::new();
    while let Some(start) = code.find(GATE) {
        let end = end_of_item(&code, start + GATE.len());
        let item = &code[start..end];
        if let Some((_, name)) = item.trim_end_matches(';').rsplit_once("mod ")
            && !item.contains('{')
        {
            modules.push(name.trim().to_owned());
        }
        let blank: String = item.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
    }
    (code, modules)
}

/// The item's last brace, or its semicolon.
fn end_of_item(code: &str, start: usize) -> usize {
    let mut depth = 0;
    for (index, c) in code[start..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(c, '}' | ';') {
            return start + index + 1;
        }
    }
    code.len()
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Other(char),
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn tokens(code: &str) -> Vec<(usize, Token)> {
    let mut tokens = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match rest.find(|c| !is_word(c)).unwrap_or(rest.len()) {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            let token = match &rest[..length] {
                "::" => Token::Path,
                word if is_word(first) => Token::Word(word.to_owned()),
                _ => Token::Other(first),
            };
            tokens.push((line + 1, token));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// All paths of two or more segments.
fn mentions(name: &str, code: &str) -> Vec<Mention> {
    let tokens = tokens(code);
    let mut module = module_path(name);
    let (mut inner, mut depth) = (Vec::new(), 0);
    let (mut found, mut here) = (Vec::new(), 0);
    while let Some((_, token)) = tokens.get(here) {
        let next = tokens.get(here + 1).map(|(_, token)| token);
        match (token, next) {
            (Token::Word(word), Some(Token::Word(name)))
                if word == "mod"
                    && matches!(tokens.get(here + 2), Some((_, Token::Other('{')))) =>
            {
                module.push(name.clone());
                inner.push(depth);
            }
            (Token::Word(_), Some(Token::Path)) => {
                let first = found.len();
                here = tree(&tokens, here, "", &mut found);
                found[first..].iter_mut().for_each(|mention| mention.resolve(&module));
                continue;
            }
            (Token::Other('{'), _) => depth += 1,
            (Token::Other('}'), _) => {
                depth -= 1;
                if inner.last() == Some(&depth) {
                    inner.pop();
                    module.pop();
                }
            }
            _ => {}
        }
        here += 1;
    }
    found
}

/// Writes out the tree that begins at a token, and gives the place after it.
fn tree(tokens: &[(usize, Token)], at: usize, before: &str, found: &mut Vec<Mention>) -> usize {
    let get = |at: usize| tokens.get(at).map(|(_, token)| token);
    match tokens.get(at) {
        Some((line, Token::Word(word))) => {
            let path = match word.as_str() {
                "self" if !before.is_empty() => before.to_owned(),
                _ if before.is_empty() => word.clone(),
                _ => format!("{before}::{word}"),
            };
            let goes_on = matches!(get(at + 2), Some(Token::Word(_) | Token::Other('{' | '*')));
            if get(at + 1) == Some(&Token::Path) && goes_on {
                return tree(tokens, at + 2, &path, found);
            }
            found.push(Mention { line: *line, path });
            at + 1
        }
        Some((_, Token::Other('{'))) => {
            let mut at = at + 1;
            while !matches!(get(at), None | Some(Token::Other('}'))) {
                at = tree(tokens, at, before, found);
                // A new name after `as` is no path.
                while !matches!(get(at), None | Some(Token::Other(',' | '}'))) {
                    at += 1;
                }
                at += usize::from(get(at) == Some(&Token::Other(',')));
            }
            at + 1
        }
        Some((line, Token::Other('*'))) => {
            found.push(Mention { line: *line, path: format!("{before}::*") });
            at + 1
        }
        _ => at + 1,
    }
}

impl Mention {
    /// Writes `super` and `self` as what they mean in `module`, and our own crate's name as `crate`.
    fn resolve(&mut self, module: &[String]) {
        let mut segments: Vec<&str> = self.path.split("::").collect();
        let mut above = module.len();
        let mut relative = false;
        while let Some(&first @ ("super" | "self")) = segments.first() {
            segments.remove(0);
            above = above.saturating_sub(usize::from(first == "super"));
            relative = true;
        }
        if relative {
            let from = module[..above].iter().map(String::as_str);
            self.path =
                ["crate"].into_iter().chain(from).chain(segments).collect::<Vec<_>>().join("::");
        } else if segments.first() == Some(&"observer") {
            segments[0] = "crate";
            self.path = segments.join("::");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{code, mentions, without_tests};

    fn paths(name: &str, text: &str) -> Vec<String> {
        let (code, _) = without_tests(code(text));
        mentions(name, &code).into_iter().map(|mention| mention.path).collect()
    }

    #[test]
    fn use_trees_are_written_out() {
        let text = "use crate::{\n    a::b,\n    c::{self, d::{E, F as G}},\n    h::*,\n};\nuse std::{fs, io::Read as _};\n";
        let expected = [
            "crate::a::b",
            "crate::c",
            "crate::c::d::E",
            "crate::c::d::F",
            "crate::h::*",
            "std::fs",
            "std::io::Read",
        ];
        assert_eq!(paths("x.rs", text), expected);
    }

    #[test]
    fn inline_paths_have_their_line() {
        let text = "fn f(x: &crate::a::B) {\n    let y = Vec::<u8>::new();\n    crate::c::d(crate::a::B { x });\n}\n";
        let found = mentions("x.rs", &code(text));
        let found: Vec<_> = found.iter().map(|found| (found.line, found.path.as_str())).collect();
        assert_eq!(found, [(1, "crate::a::B"), (2, "Vec"), (3, "crate::c::d"), (3, "crate::a::B")]);
    }

    #[test]
    fn super_is_resolved() {
        let text = "use super::super::super::other::X;\nmod inner { use super::super::y; }\nuse self::z::A;\n";
        let expected = ["crate::other::X", "crate::a::b::y", "crate::a::b::c::z::A"];
        assert_eq!(paths("a/b/c.rs", text), expected);
        assert_eq!(paths("a/mod.rs", "use super::other::X;"), ["crate::other::X"]);
        assert_eq!(
            paths("main.rs", "use observer::{cli, commands};"),
            ["crate::cli", "crate::commands"]
        );
    }

    #[test]
    fn comments_texts_and_tests_mention_nothing() {
        let text = r###"
//! crate::doc::x
/* crate::a::b /* crate::c::d */ crate::e::f */
const A: &str = "crate::g::h \" crate::i::j";
const B: &str = r##"crate::k::l "# crate::m::n"##;
const C: [char; 3] = ['"', '\'', '\u{41}'];
fn f<'a>(x: &'a str) -> crate::real::One { g() }
#[cfg(test)]
const D: crate::o::P = crate::o::P { x: 1 };
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests {
    use crate::q::r;
    fn g() { crate::s::t(); }
}
use crate::real::Two;
"###;
        assert_eq!(paths("x.rs", text), ["crate::real::One", "crate::real::Two"]);
        assert_eq!(without_tests(code(text)).1, ["samples"]);
    }
}
