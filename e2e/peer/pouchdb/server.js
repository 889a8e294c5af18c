'use strict';
// A PouchDB server in memory, on a loopback port of the system's choice: the
// first line of its output is its URL. It ends when its stdin does, so that no
// death of the test process, however sudden, leaves it behind.
//
// The mode is what PouchDB's own replication needs and no more. In the full mode
// the validation plug-in loses revision histories (_revisions keeps one id), and
// the security plug-in lets an unknown filter end the process.
const express = require('express');
const PouchDB = require('pouchdb').plugin(require('pouchdb-adapter-memory'));
const expressPouchDB = require('express-pouchdb');

const app = express();
app.use(expressPouchDB(PouchDB.defaults({ adapter: 'memory' }), {
  mode: 'minimumForPouchDB',
  inMemoryConfig: true,
}));
// Four parameters make it an error handler; without one a failure is an HTML page.
app.use((err, req, res, next) => {
  if (res.headersSent) return next(err);
  const status = err.status || 500;
  res.status(status).json({ error: err.name || 'error', reason: err.reason || err.message });
});

const server = app.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
process.stdin.on('end', () => process.exit(0)).resume();
