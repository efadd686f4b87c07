//! What a user without rights can do to observer and to its record: forge, grow, block, time. SECURITY.md has the list, and
//! names the test of each row.

mod senders;

crate::tests![
    a_sender_that_executes_another_program,
    a_sender_that_changes_user_and_name,
    a_tracer_keeps_a_signal_back,
    a_signal_that_was_handled,
    a_message_and_a_write_kill_nobody,
];

use senders::{
    a_message_and_a_write_kill_nobody, a_sender_that_changes_user_and_name,
    a_sender_that_executes_another_program, a_signal_that_was_handled,
    a_tracer_keeps_a_signal_back,
};
