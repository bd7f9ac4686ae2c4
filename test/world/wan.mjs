// SPDX-License-Identifier: Apache-2.0
// The fake internet's servers, run in wan1: a web page (80), a TCP stream that sends a counter every 50 ms
// (7777), a UDP echo (7778) and a DNS server (53, UDP) that answers every A question with 203.0.113.1. The page
// and the echo are at 2001:db8::1 as well.
import dgram from 'node:dgram';
import http from 'node:http';
import net from 'node:net';

const address = '203.0.113.1';
const servers = [];

const address6 = '2001:db8::1';

for (const at of [address, address6]) {
  const page = http.createServer((request, response) =>
    response.end(`hello from wan1 to ${request.socket.remoteAddress}\n`),
  );
  servers.push(new Promise((ready) => page.listen(80, at, ready)));
  const echo = dgram.createSocket(at === address ? 'udp4' : 'udp6');
  echo.on('message', (message, peer) => echo.send(message, peer.port, peer.address));
  servers.push(new Promise((ready) => echo.bind(7778, at, ready)));
}

servers.push(
  new Promise((ready) =>
    net
      .createServer((socket) => {
        let count = 0;
        const timer = setInterval(() => socket.write(`${count++}\n`), 50);
        const stop = () => clearInterval(timer);
        socket.on('error', stop).on('close', stop);
      })
      .listen(7777, address, ready),
  ),
);

const dns = dgram.createSocket('udp4');
dns.on('message', (query, peer) => {
  if (query.length < 17) return;
  let end = 12;
  while (end < query.length && query[end] !== 0) end += query[end] + 1;
  const question = query.subarray(12, end + 5);
  const isA = query.readUInt16BE(end + 1) === 1;
  const header = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]);
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, ...address.split('.').map(Number)]);
  dns.send(Buffer.concat([header, question, ...(isA ? [answer] : [])]), peer.port, peer.address);
});
servers.push(new Promise((ready) => dns.bind(53, address, ready)));

await Promise.all(servers);
console.log('ready');
