//! A parsed document as a serde deserializer that knows the path of every value and gathers every mistake.
//!
//! serde stops at the first error. [`read`] notes it with its path, hides that path and reads again, until nothing is
//! left to complain about: so unknown keys, wrong types and wrong values all come from the structs' own
//! `Deserialize`, and no second list of keys exists anywhere. Owns no text and knows no line numbers: paths only.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::de::DeValue;

use super::account::is_secret;
use super::error::quoted;

/// More mistakes than this are not reported: by then the file is of another kind.
const MOST_MISTAKES: usize = 50;

/// Reads `document` as a `T`, with every mistake in it. What is mistaken keeps its default, and so does a list with a
/// mistaken element, since its indexes would no longer be those of the file; `None` when there were too many mistakes
/// to go on.
pub(super) fn read<T: DeserializeOwned>(document: &DeValue<'_>) -> (Option<T>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let mut hidden = BTreeSet::new();
    loop {
        let root = Node { value: document, path: String::new(), hidden: &hidden };
        match T::deserialize(root) {
            Ok(value) => {
                let torn = torn_lists(&hidden);
                if torn.is_subset(&hidden) {
                    return (Some(value), mistakes);
                }
                hidden.extend(torn);
            }
            Err(mistake) => {
                let is_new = hidden.insert(mistake.path.clone());
                mistake.join(&mut mistakes);
                if !is_new || mistakes.len() == MOST_MISTAKES {
                    return (None, mistakes);
                }
            }
        }
    }
}

/// The lists of which an element is hidden.
fn torn_lists(hidden: &BTreeSet<String>) -> BTreeSet<String> {
    hidden.iter().filter_map(|path| path.strip_suffix(']')?.rsplit_once('[')).map(|(list, _)| list.to_owned()).collect()
}

/// One thing that is wrong, and the path of the key it is wrong about: `pool.web.listen[1]`.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) path: String,
    pub(super) message: String,
    placed: bool,
    /// The key without which this one cannot be judged.
    grounds: Option<String>,
    /// What to say instead where the value may be secret.
    discreet: Option<String>,
}

impl Mistake {
    pub(super) fn new(path: &str, message: impl Into<String>) -> Mistake {
        Mistake { path: path.to_owned(), message: message.into(), placed: true, grounds: None, discreet: None }
    }

    /// This, unless the key at `grounds` is mistaken itself.
    pub(super) fn unless_about(self, grounds: &str) -> Mistake {
        Mistake { grounds: Some(grounds.to_owned()), ..self }
    }

    /// Adds this to `mistakes` unless it is only the consequence of one of them: a list whose one entry was refused and
    /// hidden looks empty.
    pub(super) fn join(self, mistakes: &mut Vec<Mistake>) {
        let causes = [Some(&self.path), self.grounds.as_ref()];
        if !mistakes.iter().any(|mistake| causes.into_iter().flatten().any(|path| mistake.is_below(path))) {
            mistakes.push(self);
        }
    }

    /// Whether this is about `path` or something inside it.
    fn is_below(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// The innermost value an error passes through on its way out is the one it is about.
    fn at(mut self, path: &str) -> Mistake {
        if !self.placed {
            self.path = path.to_owned();
            self.placed = true;
            self.message = self.discreet.take().filter(|_| is_secret(path)).unwrap_or(self.message);
        }
        self
    }
}

impl Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: Display>(message: T) -> Mistake {
        Mistake { path: String::new(), message: message.to_string(), placed: false, grounds: None, discreet: None }
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Mistake {
        let is_text = matches!(found, Unexpected::Str(_));
        let found = match found {
            Unexpected::Str(text) => quoted(text),
            Unexpected::Bool(value) => value.to_string(),
            Unexpected::Signed(number) => number.to_string(),
            Unexpected::Float(number) => number.to_string(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a table".to_owned(),
            other => other.to_string(),
        };
        let wanted = match wanted.to_string() {
            // serde's words for what this format calls otherwise.
            word if word == "a map" || word.starts_with("struct ") => "a table".to_owned(),
            word => word,
        };
        let discreet = is_text.then(|| format!("found a text, wanted {wanted}"));
        Mistake { discreet, ..Mistake::custom(format!("found {found}, wanted {wanted}")) }
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Mistake {
        Mistake::custom(match nearest(key, known) {
            Some(name) => format!("no such key; did you mean \"{name}\"?"),
            None => format!("no such key; the keys of this table are {}", known.join(", ")),
        })
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Mistake {
        let found = quoted(found);
        Mistake::custom(format!("{found} is not one of them: write {}", alternatives(known)))
    }

    fn missing_field(key: &'static str) -> Mistake {
        Mistake::custom(format!("\"{key}\" is missing from this table: add it"))
    }
}

/// The known word that `word` was probably meant to be.
fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&word, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 5)
        .min()
        .map(|(_, name)| name)
}

/// `"a", "b" or "c"`.
fn alternatives(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match words.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// The path of `key` inside the table at `table`.
pub(super) fn below(table: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let key = if bare { key.to_owned() } else { format!("{key:?}") };
    if table.is_empty() { key } else { format!("{table}.{key}") }
}

/// One value of the document, where it is, and what of it was already complained about.
struct Node<'a> {
    value: &'a DeValue<'a>,
    path: String,
    hidden: &'a BTreeSet<String>,
}

impl<'a> Node<'a> {
    fn child(&self, value: &'a DeValue<'a>, path: String) -> Option<Node<'a>> {
        (!self.hidden.contains(&path)).then_some(Node { value, path, hidden: self.hidden })
    }

    /// Reads this value; what goes wrong inside, and is not about a value further in, is about this one.
    fn fill<'de, T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mistake> {
        let path = self.path.clone();
        seed.deserialize(self).map_err(|mistake| mistake.at(&path))
    }

    fn visit<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Mistake> {
        match self.value {
            DeValue::String(text) => visitor.visit_str(text),
            DeValue::Boolean(value) => visitor.visit_bool(*value),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => visitor.visit_i64(number),
                Err(_) => Err(de::Error::custom(format!("{number} does not fit into 64 bits"))),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(finite) if finite.is_finite() => visitor.visit_f64(finite),
                _ => Err(de::Error::custom(format!("{number} is not a finite number"))),
            },
            DeValue::Datetime(time) => visitor.visit_string(time.to_string()),
            DeValue::Array(items) => {
                let nodes = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.child(item.get_ref(), format!("{}[{index}]", self.path)));
                visitor.visit_seq(Elements { nodes: nodes.flatten().collect::<Vec<_>>().into_iter() })
            }
            DeValue::Table(table) => {
                let mut entries: Vec<_> = table.iter().collect();
                entries.sort_by_key(|(key, _)| key.span().start);
                let nodes = entries.into_iter().filter_map(|(key, value)| {
                    let node = self.child(value.get_ref(), below(&self.path, key.get_ref()))?;
                    Some((key.get_ref().as_ref(), node))
                });
                visitor.visit_map(Entries { nodes: nodes.collect::<Vec<_>>().into_iter(), value: None })
            }
        }
    }
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.visit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match self.value {
            DeValue::String(text) => visitor.visit_enum(text.as_ref().into_deserializer()),
            _ => self.visit(OneOf(variants)).map(|word| match word {}),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Accepts nothing: says which words were wanted where no word stands.
struct OneOf(&'static [&'static str]);

/// What cannot be.
enum Never {}

impl Visitor<'_> for OneOf {
    type Value = Never;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&alternatives(self.0))
    }
}

struct Elements<'a> {
    nodes: std::vec::IntoIter<Node<'a>>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mistake> {
        self.nodes.next().map(|node| node.fill(seed)).transpose()
    }
}

struct Entries<'a> {
    nodes: std::vec::IntoIter<(&'a str, Node<'a>)>,
    value: Option<Node<'a>>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mistake> {
        let Some((key, node)) = self.nodes.next() else {
            return Ok(None);
        };
        let deserializer: StrDeserializer<'_, Mistake> = key.into_deserializer();
        let key = seed.deserialize(deserializer).map_err(|mistake| mistake.at(&node.path))?;
        self.value = Some(node);
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        match self.value.take() {
            Some(node) => node.fill(seed),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}
