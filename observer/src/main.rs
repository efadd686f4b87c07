//! observer
fn main() -> anyhow::Result<()> { let k = observer::kernel::Kernel::load(Default::default())?; for a in &k.attached { eprintln!("{} {:?}", a.hook.attach, a.refused); } eprintln!("{:?}", k.missing_fields); Ok(()) }
