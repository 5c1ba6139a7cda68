//! Comparisons of user ids. Whether a user may read, write or subscribe is decided by `ConversationAccess` from memberships; a
//! comparison of ids elsewhere would be a second policy, which other members of a conversation would not pass.

use super::{files, is_test};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Names of values that are user ids.
const NAMES: [&str; 6] = ["user", "user_id", "owner", "owner_id", "operator_id", "actor_user_id"];

/// Files with comparisons that do not decide on access to a conversation: path, number, reason.
const EXCEPTIONS: &[(&str, usize, &str)] = &[
    ("src/auth/mod.rs", 1, "a revocation applies to the tokens of one user"),
    ("src/store/sqlite/audit.rs", 1, "stores the operator of an action"),
    ("src/http/operator/users.rs", 1, "operators cannot lock themselves"),
    ("src/connection/auth.rs", 1, "a connection belongs to the user who authenticated first"),
    ("src/registry/actor.rs", 2, "an operator kicks or notifies the connections of a user"),
    ("src/registry/query.rs", 1, "an operator lists the connections of a user"),
    ("src/store/sqlite/conversation_list.rs", 1, "selects the memberships of a user"),
    ("src/store/sqlite/conversations.rs", 2, "a `client_message_id` is unique per user; feedback is shown to its user"),
    ("src/store/sqlite/events.rs", 1, "selects the membership that makes up the access"),
    ("src/store/sqlite/feedback.rs", 2, "a user rates the answers to their own questions"),
    ("src/store/sqlite/refresh.rs", 2, "sign-ins of a user"),
    ("src/store/sqlite/revocations.rs", 3, "sign-ins and revocations of a user"),
    ("src/store/sqlite/usage.rs", 2, "consumption of users"),
    ("src/store/sqlite/user_list.rs", 1, "sign-ins of users"),
    ("src/store/sqlite/users.rs", 2, "sign-ins of a user"),
];

/// Returns the lines on which user ids are compared, outside of tests.
fn comparisons(source: &str) -> Vec<usize> {
    let tokens: TokenStream = source.parse().unwrap();
    let mut found = Vec::new();
    search(&without_tests(tokens), &mut found);
    found
}

/// Removes the items marked with `#[cfg(test)]`.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut is_skipping = false;
    for token in tokens {
        match &token {
            TokenTree::Group(group) if is_skipping && group.delimiter() == Delimiter::Brace => is_skipping = false,
            TokenTree::Punct(end) if is_skipping && end.as_char() == ';' => is_skipping = false,
            _ if is_skipping => {}
            TokenTree::Group(group) if group.stream().to_string().replace(' ', "") == "cfg(test)" => {
                kept.pop();
                is_skipping = true;
            }
            _ => kept.push(token),
        }
    }
    kept
}

fn search(tokens: &[TokenTree], found: &mut Vec<usize>) {
    for (index, token) in tokens.iter().enumerate() {
        let is_comparison = match token {
            TokenTree::Group(group) => {
                search(&without_tests(group.stream()), found);
                false
            }
            // `==` or `!=`.
            TokenTree::Punct(second) if second.as_char() == '=' && index > 0 => {
                let is_operator =
                    matches!(&tokens[index - 1], TokenTree::Punct(first) if "=!".contains(first.as_char()));
                let left = tokens[..index - 1].iter().rev().take_while(|token| is_operand(token));
                let right = tokens[index + 1..].iter().take_while(|token| is_operand(token));
                is_operator
                    && (is_user_id(left.collect::<Vec<_>>())
                        || is_user_id(right.collect::<Vec<_>>().into_iter().rev().collect()))
            }
            // `user_id.eq(…)`, also as a column.
            TokenTree::Ident(method) if ["eq", "ne", "eq_any"].iter().any(|name| method == name) && index > 1 => {
                matches!(&tokens[index - 2], TokenTree::Ident(name) if is_name(&name.to_string()))
            }
            TokenTree::Literal(literal) => literal.to_string().contains("user_id = "),
            _ => false,
        };
        if is_comparison {
            found.push(token.span().start().line);
        }
    }
}

fn is_name(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Whether a token belongs to an operand: names, field accesses, calls and references.
fn is_operand(token: &TokenTree) -> bool {
    match token {
        TokenTree::Ident(word) => {
            !["if", "while", "match", "return", "let", "in"].iter().any(|keyword| word == keyword)
        }
        TokenTree::Punct(punct) => ".:*&?".contains(punct.as_char()),
        TokenTree::Group(group) => group.delimiter() == Delimiter::Parenthesis,
        TokenTree::Literal(_) => true,
    }
}

/// Whether an operand, given last token first, is a user id: it ends in such a name, perhaps with calls after it, or is one
/// within parentheses, such as `Some(user)`.
fn is_user_id(reversed: Vec<&TokenTree>) -> bool {
    for (index, token) in reversed.iter().enumerate() {
        match token {
            TokenTree::Ident(name) if is_name(&name.to_string()) => return true,
            // `clone`, `into` and the like, after a user id.
            TokenTree::Ident(name)
                if index > 0 && ["clone", "copied", "to_string", "into"].iter().any(|call| name == call) => {}
            TokenTree::Group(group) => {
                // The arguments of a call do not count.
                let callee = reversed.get(index + 1).filter(|callee| matches!(callee, TokenTree::Ident(_)));
                if callee.is_some_and(|callee| callee.to_string() != "Some") {
                    continue;
                }
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                if !inner.is_empty() && inner.iter().all(is_operand) && is_user_id(inner.iter().rev().collect()) {
                    return true;
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == '&' => return false,
            TokenTree::Punct(_) => {}
            _ => return false,
        }
    }
    false
}

#[test]
fn user_ids_are_compared_in_the_listed_files_only() {
    let mut bad = Vec::new();
    for (name, text) in files("src", "rs").into_iter().chain(files("crates", "rs")).filter(|(name, _)| !is_test(name)) {
        let found = comparisons(&text);
        let allowed = EXCEPTIONS.iter().find(|(path, ..)| *path == name).map_or(0, |(_, number, _)| *number);
        if found.len() != allowed && !name.contains("/conformance") {
            bad.push(format!("{name} compares user ids on lines {found:?}; {allowed} are listed"));
        }
    }
    assert!(bad.is_empty(), "ask ConversationAccess instead, or list the reason:\n{}", bad.join("\n"));
    for (path, ..) in EXCEPTIONS {
        assert!(super::root().join(path).exists(), "{path} is listed but not there");
    }
}

#[test]
fn comparisons_of_user_ids_are_found() {
    for source in [
        "fn f() { if turn.subject.user_id != user_id { return; } }",
        "fn f() -> bool { stats.user() == Some(user) }",
        "fn f() { log::info!(own = identity.user_id == id; \"x\"); }",
        "fn f() { rows.filter(|row| *known == row.owner.clone()); }",
        "fn f() { turns::table.filter(turns::user_id.eq(user.to_string())) }",
        "const SQL: &str = \"SELECT 1 FROM turns WHERE user_id = ?\";",
    ] {
        assert_eq!(comparisons(source), [1], "{source}");
    }
    for source in [
        "fn f() { if access.can_read(1) && user_id.is_some() && a == b {} }",
        "fn f() { let user = id; users.len() == 2 }",
        "fn f() { by_user.get(&user) == None }",
        "#[cfg(test)]\nmod tests { fn f() { a.user_id == b.user_id } }",
        "impl A { fn a() {} #[cfg(test)] fn f() { a.user_id == b } fn b() {} }",
    ] {
        assert_eq!(comparisons(source), [0_usize; 0], "{source}");
    }
}
