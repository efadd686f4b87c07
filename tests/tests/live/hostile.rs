//! What a user without rights can do to observer and to its record: forge, grow, block. SECURITY.md has the list, and names the
//! test of each row.

mod blocks;
mod growth;
mod senders;

use blocks::{
    a_reader_locks_the_record, clients_that_do_not_read, silent_scrapers, the_folder_is_removed,
};
use growth::{
    a_path_that_hangs, arguments_of_a_holder, children_times_refusals, holders_of_one_socket,
    sockets_at_one_address, sockets_that_end_at_once, zombies_of_a_holder,
};
use senders::{
    a_message_and_a_write_kill_nobody, a_sender_that_changes_user_and_name,
    a_sender_that_executes_another_program, a_signal_that_was_handled,
    a_tracer_keeps_a_signal_back,
};

crate::tests![
    a_sender_that_executes_another_program,
    a_sender_that_changes_user_and_name,
    a_tracer_keeps_a_signal_back,
    a_signal_that_was_handled,
    a_message_and_a_write_kill_nobody,
    arguments_of_a_holder,
    holders_of_one_socket,
    sockets_at_one_address,
    zombies_of_a_holder,
    sockets_that_end_at_once,
    children_times_refusals,
    a_path_that_hangs needs Fuse,
    a_reader_locks_the_record,
    silent_scrapers,
    clients_that_do_not_read,
    the_folder_is_removed,
];
