//! Who may do what: roles, grades and clearances.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a person is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Corrects labels.
    Annotator,
    /// Decides about labels, too.
    Reviewer,
    /// Sees how the work goes, too.
    Lead,
    /// Looks and changes nothing.
    DataUser,
    /// Everything, accounts included.
    Admin,
}

impl Role {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Annotator, "annotator"),
        (Self::Reviewer, "reviewer"),
        (Self::Lead, "lead"),
        (Self::DataUser, "data_user"),
        (Self::Admin, "admin"),
    ];

    /// Its name in requests and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(role, _)| *role == self).map_or("data_user", |(_, name)| name)
    }

    /// How many rights the role includes.
    #[must_use]
    pub(crate) fn rights(self) -> usize {
        let all = [Right::Look, Right::Edit, Right::Decide, Right::Oversee, Right::Administer];
        all.into_iter().filter(|right| self.may(*right)).count()
    }

    /// Whether the role includes a right.
    #[must_use]
    pub fn may(self, right: Right) -> bool {
        match right {
            Right::Look => true,
            Right::Edit => self != Self::DataUser,
            Right::Decide => matches!(self, Self::Reviewer | Self::Lead | Self::Admin),
            Right::Oversee => matches!(self, Self::Lead | Self::Admin),
            Right::Administer => self == Self::Admin,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(role, _)| *role);
        found.ok_or_else(|| format!("expected annotator, reviewer, lead, data_user or admin, got {text:?}"))
    }
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See clips.
    Look,
    /// Change labels.
    Edit,
    /// Accept, reject, finish a clip.
    Decide,
    /// See statistics and the audit log.
    Oversee,
    /// Make accounts.
    Administer,
}

/// How sensitive data is, and how far a person is cleared. The words are those of GB/T 43697.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Nobody has graded it.
    Unclassified,
    /// General data.
    General,
    /// Important data.
    Important,
    /// Core data.
    Core,
}

impl Grade {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Unclassified, "unclassified"), (Self::General, "general"), (Self::Important, "important"), (Self::Core, "core")];

    /// Its name in requests and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(grade, _)| *grade == self).map_or("core", |(_, name)| name)
    }

    /// The grade of a clip by its manifest entry. A word that is not known counts as the strictest: take the stricter.
    #[must_use]
    pub fn of_clip(word: &str) -> Self {
        if word.is_empty() { Self::Unclassified } else { word.parse().unwrap_or(Self::Core) }
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Grade {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text).map(|(grade, _)| *grade);
        found.ok_or_else(|| format!("expected unclassified, general, important or core, got {text:?}"))
    }
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Name.
    pub name: String,
    /// Role.
    pub role: Role,
    /// The strictest grade that they may see.
    pub clearance: Grade,
}

/// Longest name of an account.
const NAME_CHARS: usize = 60;

impl Person {
    /// `name=role` or `name=role,clearance`, as the command line has it; without a clearance nothing that is graded may be seen.
    ///
    /// # Errors
    /// With both sides, when it is not that.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or_else(|| format!("expected name=role[,clearance], got {text:?}"))?;
        let (role, clearance) = rest.split_once(',').unwrap_or((rest, Grade::Unclassified.as_str()));
        let person = Self { name: name.to_owned(), role: role.parse()?, clearance: clearance.parse()? };
        person.check()?;
        Ok(person)
    }

    /// Whether the name can be one.
    ///
    /// # Errors
    /// With both sides, when not.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if !is_name(name) {
            return Err(format!("expected a name of 1 to {NAME_CHARS} characters without spaces around it, got {name:?}"));
        }
        Ok(())
    }
}

/// Whether an account can have this name.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= NAME_CHARS && !name.chars().any(char::is_control) && name.trim() == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grade_that_nobody_knows_is_the_strictest() {
        assert_eq!(Grade::of_clip("geheim"), Grade::Core);
        assert_eq!(Grade::of_clip(""), Grade::Unclassified);
        assert!(Grade::of_clip("important") > Grade::General);
    }

    #[test]
    fn accounts_are_read_from_the_command_line_and_refused_with_both_sides() {
        let ana = Person::parse("ana=reviewer,important").unwrap();
        assert_eq!((ana.role, ana.clearance), (Role::Reviewer, Grade::Important));
        assert_eq!(Person::parse("bo=annotator").unwrap().clearance, Grade::Unclassified);
        for wrong in ["ana", "=admin", "ana=king", "ana=admin,secret", " ana=admin"] {
            assert!(Person::parse(wrong).unwrap_err().contains("expected"), "{wrong}");
        }
    }

    #[test]
    fn rights_grow_with_the_role() {
        assert!(!Role::DataUser.may(Right::Edit));
        assert!(Role::Annotator.may(Right::Edit) && !Role::Annotator.may(Right::Decide));
        assert!(Role::Lead.may(Right::Oversee) && !Role::Lead.may(Right::Administer));
        for (role, name) in Role::ALL {
            assert_eq!(name.parse::<Role>(), Ok(role));
        }
    }
}
