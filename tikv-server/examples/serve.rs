//! Serves a cluster for another program to try, until standard input ends.
//!
//! ```text
//! cargo run --release -p untorn-tikv-server --example serve -- --stores 3 --regions 16
//! ```
//!
//! The first line of the output is the address of PD. With more than one region, regions are cut and led by others while
//! locks are held, until there are that many.

use clap::Parser;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use untorn_tikv_server::Cluster;

/// A TiKV cluster in one process, in memory.
#[derive(Debug, Parser)]
struct Options {
    /// Stores, each at a port of its own.
    #[arg(long, default_value_t = 3)]
    stores: u64,
    /// Cut regions where locks are held, up to so many.
    #[arg(long, default_value_t = 1)]
    regions: usize,
    /// One cut every so many milliseconds.
    #[arg(long, default_value_t = 50)]
    pace: u64,
    /// Encrypt, and write there what a client needs: ca.pem, client.pem, client-key.pem.
    #[arg(long, value_name = "DIRECTORY")]
    tls: Option<PathBuf>,
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let cluster = match &options.tls {
        None => Cluster::start(options.stores)?,
        Some(directory) => {
            let cluster = Cluster::start_encrypted(options.stores)?;
            cluster.write_certificates(directory)?;
            cluster
        }
    };
    let cluster = std::sync::Arc::new(cluster);
    println!("{}", cluster.pd_endpoint());
    let disturbed = std::sync::Arc::clone(&cluster);
    std::thread::spawn(move || {
        while disturbed.regions() < options.regions {
            let locks = disturbed.locks();
            if let Some(lock) = locks.get(locks.len() / 2)
                && disturbed.split(lock.key.clone())
            {
                let leader = disturbed.transfer_leader(&lock.key);
                println!(
                    "{} regions, store {leader} leads the last one",
                    disturbed.regions()
                );
            }
            std::thread::sleep(Duration::from_millis(options.pace));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
