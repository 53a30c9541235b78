/** A SOCKS5 proxy as a program, for namespaces: `socks-program.js UPSTREAM_PORT` prints the port it listens on. */
import { socksProxy } from './proxies.ts';

const proxy = await socksProxy({ port: Number(process.argv[2]) });
process.stdout.write(`${proxy.port}\n`);
