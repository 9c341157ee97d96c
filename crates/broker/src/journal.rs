//! What a lasting broker knows beside messages: its topics, and the offsets that groups have committed.
//!
//! One text file, `journal`, one fact a line, later lines win. At the start it is read, written anew without what was overtaken, and
//! appended to from then on. A last line that was cut off is left out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use url::form_urlencoded;

/// A topic as it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicFact {
    pub(crate) partitions: i32,
    pub(crate) settings: BTreeMap<String, String>,
}

/// Group, topic and partition.
pub(crate) type OffsetKey = (String, String, i32);

/// What the journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) topics: BTreeMap<String, TopicFact>,
    pub(crate) offsets: BTreeMap<OffsetKey, i64>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Topic(String, TopicFact),
    Deleted(String),
    Offset(OffsetKey, i64),
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Reads the journal of a folder, tidies it, and opens it for more.
    ///
    /// # Errors
    /// When the file cannot be read or written, or a line in it is none of ours.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Facts)> {
        let path = dir.join("journal");
        let facts = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text).map_err(|message| unreadable(&path, &message))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Facts::default(),
            Err(error) => return Err(error),
        };
        let next = dir.join("journal.next");
        let mut file = File::create(&next)?;
        file.write_all(render(&facts).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&next, &path)?;
        Ok((Self { file }, facts))
    }

    /// Adds facts.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(crate) fn add(&mut self, facts: &[Fact]) -> io::Result<()> {
        let text: String = facts.iter().map(line).collect();
        self.file.write_all(text.as_bytes())
    }

    /// Makes what was written safe against a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn unreadable(path: &PathBuf, message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{}: {message}\nhint: was it written by a newer version?", path.display()))
}

fn render(facts: &Facts) -> String {
    let topics = facts.topics.iter().map(|(name, topic)| line(&Fact::Topic(name.clone(), topic.clone())));
    let offsets = facts.offsets.iter().map(|(key, offset)| line(&Fact::Offset(key.clone(), *offset)));
    topics.chain(offsets).collect()
}

fn line(fact: &Fact) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    match fact {
        Fact::Topic(name, topic) => {
            pairs.append_pair("topic", name).append_pair("partitions", &topic.partitions.to_string());
            pairs.extend_pairs(&topic.settings);
        }
        Fact::Deleted(name) => {
            pairs.append_pair("deleted", name);
        }
        Fact::Offset((group, topic, partition), offset) => {
            pairs.append_pair("offset", &offset.to_string()).append_pair("group", group).append_pair("topic", topic);
            pairs.append_pair("partition", &partition.to_string());
        }
    }
    pairs.finish() + "\n"
}

fn parse(text: &str) -> Result<Facts, String> {
    let mut facts = Facts::default();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let Some(line) = line.strip_suffix('\n') else { break };
        let fact = parse_line(line)
            .ok_or_else(|| format!("line {}: expected a topic, a deletion or an offset, got {line:?}", number + 1))?;
        facts.apply(fact);
    }
    Ok(facts)
}

impl Facts {
    pub(crate) fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Topic(name, topic) => {
                self.topics.insert(name, topic);
            }
            Fact::Deleted(name) => {
                self.topics.remove(&name);
                self.offsets.retain(|(_, topic, _), _| *topic != name);
            }
            Fact::Offset(key, offset) => {
                self.offsets.insert(key, offset);
            }
        }
    }
}

fn parse_line(line: &str) -> Option<Fact> {
    let mut pairs = form_urlencoded::parse(line.as_bytes()).into_owned();
    let mut next = |name: &str| pairs.next().filter(|(key, _)| key == name).map(|(_, value)| value);
    if line.starts_with("topic=") {
        let (name, partitions) = (next("topic")?, next("partitions")?.parse().ok()?);
        return Some(Fact::Topic(name, TopicFact { partitions, settings: pairs.collect() }));
    }
    if line.starts_with("deleted=") {
        return next("deleted").map(Fact::Deleted);
    }
    let offset = next("offset")?.parse().ok()?;
    let (group, topic, partition) = (next("group")?, next("topic")?, next("partition")?.parse().ok()?);
    Some(Fact::Offset((group, topic, partition), offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(partitions: i32) -> TopicFact {
        TopicFact { partitions, settings: BTreeMap::from([("max.message.bytes".to_owned(), "8388608".to_owned())]) }
    }

    fn key(group: &str, name: &str) -> OffsetKey {
        (group.to_owned(), name.to_owned(), 0)
    }

    #[test]
    fn facts_are_the_same_after_reading_whatever_their_names_hold() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, facts) = Journal::open(dir.path()).unwrap();
        assert_eq!(facts, Facts::default());
        let odd = "a&b=c\nd é";
        journal
            .add(&[
                Fact::Topic("t".to_owned(), topic(2)),
                Fact::Offset(key(odd, "t"), 5),
                Fact::Offset(key(odd, "t"), 9),
                Fact::Topic("gone".to_owned(), topic(1)),
                Fact::Offset(key("g", "gone"), 1),
                Fact::Deleted("gone".to_owned()),
            ])
            .unwrap();
        for _ in 0..2 {
            let (_, facts) = Journal::open(dir.path()).unwrap();
            assert_eq!(facts.topics, BTreeMap::from([("t".to_owned(), topic(2))]));
            assert_eq!(facts.offsets, BTreeMap::from([(key(odd, "t"), 9)]));
        }
        // Overtaken facts are gone from the file.
        assert_eq!(std::fs::read_to_string(dir.path().join("journal")).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_line_that_was_cut_off_is_left_out_and_a_foreign_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "topic=t&partitions=1\noffset=5&group=g&topic=t&par").unwrap();
        let (_, facts) = Journal::open(dir.path()).unwrap();
        assert_eq!((facts.topics.len(), facts.offsets.len()), (1, 0));
        std::fs::write(&path, "what is this\n").unwrap();
        let text = Journal::open(dir.path()).unwrap_err().to_string();
        assert!(text.contains("line 1") && text.contains("what is this"), "{text}");
    }
}
