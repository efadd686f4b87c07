// `node cluster.js plain|shared|handed`: a server; a cluster whose primary accepts for its workers; one whose primary
// opens the socket and hands it to its workers. Says what a workload says.
'use strict';
const cluster = require('cluster');
const net = require('net');

const WORKERS = 2;
const host = '127.0.0.1';
const how = process.argv[2];
cluster.schedulingPolicy = how === 'handed' ? cluster.SCHED_NONE : cluster.SCHED_RR;

function primary() {
  let serving = 0;
  for (let made = 0; made < WORKERS; made += 1) {
    const worker = cluster.fork();
    console.log(`worker_pid=${worker.process.pid}`);
    worker.on('listening', ({ port }) => {
      serving += 1;
      if (serving < WORKERS) return;
      console.log(`port=${port}`);
      console.log('ready=1');
    });
    worker.on('message', (errno) => console.log(`refused=${errno}`));
  }
  process.on('SIGUSR2', () => Object.values(cluster.workers)[0].send('by yourself'));
}

function worker() {
  const server = net.createServer(() => {}).listen({ host, port: 0 });
  process.on('message', () => {
    const { port } = server.address();
    const alone = net.createServer(() => {});
    alone.on('error', (error) => process.send(-error.errno));
    alone.listen({ host, port, exclusive: true });
  });
}

function plain() {
  const server = net.createServer(() => {}).listen({ host, port: 0 }, () => {
    console.log(`port=${server.address().port}`);
    console.log('ready=1');
  });
}

if (how === 'plain') plain();
else if (cluster.isPrimary) primary();
else worker();
