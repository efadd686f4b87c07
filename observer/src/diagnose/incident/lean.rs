//! An event as incidents keep it: thousands are kept, and a process chooses how long its own are.

use std::sync::Arc;

use crate::model::{Body, Event, Process};

/// Most bytes of arguments: what tells two programs of one parent apart.
const ARGS: usize = 512;
/// Most released sockets: the releases themselves come as well.
const RELEASED: usize = 64;

/// The event without what no incident says.
pub(super) fn lean(event: &Event) -> Arc<Event> {
    let mut lean = event.clone();
    match &mut lean.body {
        Body::Exit(exit) if is_long(&exit.process) || exit.released.len() > RELEASED => {
            let exit = Arc::make_mut(exit);
            exit.shape = None;
            shorten(&mut exit.process);
            exit.released.truncate(RELEASED);
        }
        Body::Bind(bind) => {
            let bind = Arc::make_mut(bind);
            shorten(&mut bind.process);
            for holder in &mut bind.holders {
                (holder.process.args, holder.process.args_hex) = (None, None);
                holder.process.missing.clear();
                holder.missing.clear();
            }
        }
        Body::Listen(listen) => shorten(&mut listen.process),
        _ => {}
    }
    Arc::new(lean)
}

fn is_long(process: &Process) -> bool {
    process.args.as_ref().is_some_and(|args| args.iter().map(String::len).sum::<usize>() > ARGS)
}

fn shorten(process: &mut Process) {
    process.args_hex = None;
    if !is_long(process) {
        return;
    }
    let mut room = ARGS;
    let args = process.args.iter().flat_map(|args| args.iter());
    let kept = args.map_while(|arg| {
        let end = arg.floor_char_boundary(room.min(arg.len()));
        let kept = (room > 0).then(|| arg[..end].to_owned());
        room = room.saturating_sub(arg.len());
        kept
    });
    process.args = Some(kept.collect());
}
