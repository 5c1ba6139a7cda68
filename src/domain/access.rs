//! Access of users to conversations. No other code compares user ids to decide on it, which `tests/tidy/user_ids.rs` enforces.

use std::str::FromStr;

/// Role of a member of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    Owner,
    Member,
    Reader,
}

impl MemberRole {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
            Self::Reader => "reader",
        }
    }
}

impl FromStr for MemberRole {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let roles = [Self::Owner, Self::Member, Self::Reader];
        roles.into_iter().find(|role| role.as_str() == text).ok_or("not a role of a member")
    }
}

/// Rights of a user in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationAccess {
    /// Absent for a user who is not a member.
    membership: Option<Membership>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Membership {
    role: MemberRole,
    since_position: i64,
}

impl ConversationAccess {
    /// Access of a member, who may read the events from `since_position` on.
    pub const fn of_member(role: MemberRole, since_position: i64) -> Self {
        Self { membership: Some(Membership { role, since_position }) }
    }

    /// Access of a user who is not a member.
    pub const NONE: Self = Self { membership: None };

    /// Whether the user may read the event at `position`.
    pub fn can_read(self, position: i64) -> bool {
        self.membership.is_some_and(|membership| membership.since_position <= position)
    }

    /// Whether the user may read everything, from the first event on: messages and ended turns, which are not selected by position.
    pub fn can_read_all(self) -> bool {
        self.can_read(1)
    }

    /// Whether the user may subscribe: to events, and to turns from the moment at which they run.
    pub fn can_subscribe(self) -> bool {
        self.membership.is_some()
    }

    /// Whether the user may read a turn.
    pub fn can_read_turn(self, has_ended: bool) -> bool {
        if has_ended { self.can_read_all() } else { self.can_subscribe() }
    }

    /// Position of the first event that the user may read; `None` if there is none.
    pub fn readable_from(self) -> Option<i64> {
        self.membership.map(|membership| membership.since_position)
    }

    /// Whether the user may write messages.
    pub fn can_write(self) -> bool {
        matches!(self.role(), Some(MemberRole::Owner | MemberRole::Member))
    }

    /// Whether the user may delete the conversation and change its members.
    pub fn can_administer(self) -> bool {
        self.role() == Some(MemberRole::Owner)
    }

    /// Whether the user may make another party the handler of the conversation.
    pub fn can_assign(self) -> bool {
        self.role() == Some(MemberRole::Owner)
    }

    fn role(self) -> Option<MemberRole> {
        self.membership.map(|membership| membership.role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_who_joined_late_reads_what_follows() {
        let rights = |access: ConversationAccess| {
            (access.can_read_all(), access.can_subscribe(), access.can_read_turn(true), access.can_read_turn(false))
        };
        assert_eq!(rights(ConversationAccess::of_member(MemberRole::Reader, 1)), (true, true, true, true));
        assert_eq!(rights(ConversationAccess::of_member(MemberRole::Owner, 2)), (false, true, false, true));
        assert_eq!(rights(ConversationAccess::NONE), (false, false, false, false));
    }

    #[test]
    fn a_role_decides_what_a_member_may_do() {
        let rights = |access: ConversationAccess| {
            let assigns = access.can_assign();
            (access.can_read(4), access.can_read(5), access.can_write(), access.can_administer(), assigns)
        };
        let of = |role| rights(ConversationAccess::of_member(role, 5));
        assert_eq!(of(MemberRole::Owner), (false, true, true, true, true));
        assert_eq!(of(MemberRole::Member), (false, true, true, false, false));
        assert_eq!(of(MemberRole::Reader), (false, true, false, false, false));
        assert_eq!(rights(ConversationAccess::NONE), (false, false, false, false, false));
    }
}
