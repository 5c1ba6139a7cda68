//! Tables after all migrations in `migrations/sqlite/`. `rowid` is SQLite's implicit column, which increases with each inserted
//! row; lists are ordered by it.

diesel::table! {
    conversations (id) {
        id -> Text,
        user_id -> Text,
        customer_id -> Nullable<Text>,
        title -> Text,
        created_at_ms -> BigInt,
        updated_at_ms -> BigInt,
        handler -> Text,
        epoch -> BigInt,
        head_position -> BigInt,
        titled_by -> Text,
        summary -> Nullable<Text>,
        summarized_until -> BigInt,
    }
}

diesel::table! {
    members (conversation_id, user_id) {
        conversation_id -> Text,
        user_id -> Text,
        role -> Text,
        since_position -> BigInt,
    }
}

diesel::table! {
    conversation_events (conversation_id, position) {
        conversation_id -> Text,
        position -> BigInt,
        kind -> Text,
        at_ms -> BigInt,
        actor_kind -> Text,
        actor_user_id -> Nullable<Text>,
        message_id -> Nullable<Text>,
        turn_id -> Nullable<Text>,
        payload -> Text,
    }
}

diesel::table! {
    turns (id) {
        rowid -> BigInt,
        id -> Text,
        conversation_id -> Text,
        user_id -> Text,
        client_message_id -> Nullable<Text>,
        state -> Text,
        error_code -> Nullable<Text>,
        error_message -> Nullable<Text>,
        token_ends -> Nullable<Binary>,
        items -> Nullable<Text>,
        started_at_ms -> BigInt,
        ended_at_ms -> Nullable<BigInt>,
        epoch -> BigInt,
        owner_node -> Nullable<Text>,
    }
}

diesel::table! {
    checkpoints (id) {
        id -> BigInt,
        turns -> Text,
    }
}

diesel::table! {
    store_checks (id) {
        id -> Integer,
        checked_at_ms -> BigInt,
    }
}

diesel::table! {
    messages (id) {
        rowid -> BigInt,
        id -> Text,
        conversation_id -> Text,
        turn_id -> Nullable<Text>,
        role -> Text,
        content -> Text,
        finish_reason -> Nullable<Text>,
        metadata -> Nullable<Text>,
        created_at_ms -> BigInt,
        reasoning -> Nullable<Text>,
    }
}

diesel::table! {
    feedback (message_id, user_id) {
        rowid -> BigInt,
        message_id -> Text,
        user_id -> Text,
        rating -> Text,
        reasons -> Text,
        comment -> Nullable<Text>,
        at_ms -> BigInt,
    }
}

diesel::joinable!(turns -> conversations (conversation_id));
diesel::allow_tables_to_appear_in_same_query!(conversations, members, conversation_events, turns, messages, feedback);

diesel::table! {
    users (id) {
        rowid -> BigInt,
        id -> Text,
        email -> Text,
        name -> Text,
        role -> Text,
        password_hash -> Text,
        created_at_ms -> BigInt,
        is_locked -> Bool,
        token_generation -> BigInt,
    }
}

diesel::table! {
    refresh_families (id) {
        id -> Text,
        user_id -> Text,
        current_jti -> Text,
        expires_at_ms -> BigInt,
        last_use -> BigInt,
    }
}

diesel::table! {
    used_refresh_tokens (jti) {
        jti -> Text,
        family_id -> Text,
        next_jti -> Text,
        issued_at_ms -> BigInt,
        running_ms -> BigInt,
        expires_at_ms -> BigInt,
    }
}

diesel::table! {
    revocations (number) {
        number -> BigInt,
        user_id -> Nullable<Text>,
        generation -> Nullable<BigInt>,
        family_id -> Nullable<Text>,
        untagged_until_ms -> Nullable<BigInt>,
        seen_at_running_ms -> Nullable<BigInt>,
    }
}

diesel::table! {
    serving_clock (id) {
        id -> BigInt,
        running_ms -> BigInt,
        period_began_ms -> BigInt,
        lowest_offset_ms -> Nullable<BigInt>,
        previous_offset_ms -> Nullable<BigInt>,
    }
}

diesel::table! {
    audit_entries (id) {
        rowid -> BigInt,
        id -> Text,
        at_ms -> BigInt,
        operator_id -> Text,
        operator_email -> Text,
        action -> Text,
        target -> Nullable<Text>,
        detail -> Text,
        outcome -> Text,
    }
}

diesel::joinable!(refresh_families -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(users, refresh_families);

diesel::table! {
    daily_usage (user_id, day) {
        user_id -> Text,
        day -> BigInt,
        tokens -> BigInt,
        cost -> BigInt,
    }
}

diesel::table! {
    documents (id) {
        rowid -> BigInt,
        id -> Text,
        source -> Text,
        collection -> Text,
        media_type -> Text,
        bytes -> BigInt,
        chunks -> BigInt,
        created_at_ms -> BigInt,
        updated_at_ms -> BigInt,
    }
}

diesel::table! {
    chunks (id) {
        id -> BigInt,
        document_id -> Text,
        position -> BigInt,
        title -> Text,
        text -> Text,
        keywords -> Text,
    }
}

diesel::table! {
    chunk_vectors (chunk_id) {
        chunk_id -> BigInt,
        space -> Text,
        dimensions -> BigInt,
        vector -> Binary,
    }
}

diesel::joinable!(chunk_vectors -> chunks (chunk_id));
diesel::allow_tables_to_appear_in_same_query!(chunk_vectors, chunks);
