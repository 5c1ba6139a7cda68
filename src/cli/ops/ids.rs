//! Ids and users as arguments of `switchboard ops`.

use super::failed;
use crate::{
    cli::{CliError, table::harmless},
    domain::{AuditId, ConnectionId, Email, TurnId, UserId},
};
use reqwest::Method;
use switchboard_client::Account;

/// Longest text that the server searches accounts for, in characters.
const MAX_QUERY_CHARS: usize = 200;

/// A user, named by id or by e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UserName {
    Id(UserId),
    Email(Email),
}

impl UserName {
    /// Parses an argument.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            return Email::parse(text).map(Self::Email).map_err(|error| error.to_string());
        }
        text.parse().map(Self::Id).map_err(|_| {
            "expected the id of a user (a UUID) or an e-mail address; the page /ops lists both, and so does \
             `switchboard user list` on the server"
                .to_owned()
        })
    }

    /// Returns the user's id, which the server is asked for if the user is named by e-mail address.
    pub(super) async fn id(&self, account: &Account) -> Result<UserId, CliError> {
        let email = match self {
            Self::Id(id) => return Ok(*id),
            Self::Email(email) => email,
        };
        let text: String = email.as_str().chars().take(MAX_QUERY_CHARS).collect();
        let mut before = String::new();
        loop {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("q", &text).append_pair("limit", "200");
            if !before.is_empty() {
                query.append_pair("before", &before);
            }
            let page = account.request(Method::GET, &format!("users?{}", query.finish()), None).await;
            let page = page.map_err(failed)?;
            // The server finds every address that contains this one.
            let users = page["users"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut same = users.iter().filter(|user| user["email"].as_str() == Some(email.as_str()));
            if let Some(id) = same.find_map(|user| user["id"].as_str()?.parse().ok()) {
                return Ok(id);
            }
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut before),
                None => {
                    return Err(CliError::Failed(format!(
                        "no account has the e-mail address {}",
                        harmless(email.as_str())
                    )));
                }
            }
        }
    }
}

/// Parses the id of a connection.
pub(super) fn connection(text: &str) -> Result<ConnectionId, String> {
    text.parse().map_err(|_| {
        "expected the id of a connection (a UUID); `switchboard ops connections` lists them, and `--q EMAIL` selects those of a \
         user"
            .to_owned()
    })
}

/// Parses the id of a turn.
pub(super) fn turn(text: &str) -> Result<TurnId, String> {
    text.parse().map_err(|_| {
        "expected the id of a turn (a UUID); `switchboard ops connections --json` lists the running ones under `turns`"
            .to_owned()
    })
}

/// Parses the id of an entry of the audit log.
pub(super) fn audit_entry(text: &str) -> Result<AuditId, String> {
    text.parse().map_err(|_| {
        "expected the id of an entry (a UUID); `switchboard ops audit` prints that of the next page at its end"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_named_by_id_or_address() {
        let id = UserId::new();
        assert_eq!(UserName::parse(&id.to_string()), Ok(UserName::Id(id)));
        let ada = UserName::Email(Email::parse("ada@example.org").unwrap());
        assert_eq!(UserName::parse("Ada@Example.org"), Ok(ada));
        for (wrong, words) in [("ada", "the id of a user"), ("", "`switchboard user list`"), ("a b@", "e-mail address")]
        {
            let error = UserName::parse(wrong).unwrap_err();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_wrong_id_is_refused_with_the_command_that_lists_ids() {
        for wrong in ["", "1", "../drain", "ada@example.org", "01930a5d-ac96-774b-bcce-b302099a805"] {
            assert!(connection(wrong).unwrap_err().contains("`switchboard ops connections`"));
            assert!(turn(wrong).unwrap_err().contains("`switchboard ops connections --json`"));
            assert!(audit_entry(wrong).unwrap_err().contains("`switchboard ops audit`"));
        }
    }
}
