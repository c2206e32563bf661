import { type IncomingMessage, request } from 'node:http';
import { isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { endpointText } from '../topology/endpoint.ts';
import type { Address } from '../topology/plan.ts';
import { FailureError } from '../wire/reasons.ts';
import type { ProxyHop } from './proxy.ts';

/**
 * Asks the proxy at the other end of `raw` for a way to `target` (HTTP CONNECT, RFC 9110 9.3.6) and returns the socket that leads
 * there. Rejects with FailureError: `proxy-refused` where the proxy says no, `unreachable` where it cannot or does not speak HTTP.
 * Has no time limit: destroying `raw` ends it.
 */
export async function openTunnel(raw: Socket, proxy: ProxyHop, target: Address): Promise<Socket> {
  const line = proxy.tls === undefined ? raw : await secureLine(raw, proxy.address.host, proxy.tls.ca);
  const authority = endpointText(target);
  const headers: Record<string, string> = { host: authority };
  if (proxy.login !== undefined) {
    headers['proxy-authorization'] = `Basic ${Buffer.from(proxy.login).toString('base64')}`;
  }
  return new Promise((resolve, reject) => {
    const asked = request({ method: 'CONNECT', path: authority, headers, createConnection: () => line });
    asked.once('connect', (answer, socket, head) => {
      const { statusCode = 0 } = answer;
      if (statusCode < 200 || statusCode > 299) {
        reject(refusal(answer, proxy.login !== undefined));
        return;
      }
      // The first bytes from the other side may have come together with the answer.
      if (head.length > 0) socket.unshift(head);
      resolve(socket as Socket);
    });
    asked.on('error', (error: NodeJS.ErrnoException) => {
      const broken = error.code?.startsWith('HPE_') ? 'what answers there is no HTTP proxy' : error.message;
      reject(new FailureError('unreachable', `the proxy gave no answer: ${broken}`, { cause: error }));
    });
    asked.end();
  });
}

function refusal(answer: IncomingMessage, hadLogin: boolean): FailureError {
  const { statusCode = 0, statusMessage = '', headers } = answer;
  // Whatever else the proxy has to say is for browsers.
  const said = `the proxy answers ${statusCode} ${statusMessage.slice(0, 100)}`.trimEnd();
  if (statusCode === 407) {
    const schemes = [headers['proxy-authenticate'] ?? []].flat().join(', ');
    const basic = schemes === '' || /\bbasic\b/i.test(schemes);
    const why = hadLogin ? 'it does not accept the name and password' : 'it demands a name and password';
    const detail = basic ? why : `it demands ${schemes.slice(0, 100)}, and only Basic is spoken here`;
    return new FailureError('proxy-refused', `${said}: ${detail}`);
  }
  if (statusCode >= 500) return new FailureError('unreachable', `${said}: it does not get through to the peer`);
  return new FailureError('proxy-refused', `${said}: it does not let us through to this address`);
}

function secureLine(raw: Socket, host: string, ca: Buffer | undefined): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const name = isIP(host) === 0 ? { servername: host } : { host };
    const socket = connectTls({ socket: raw, ...name, ...(ca !== undefined && { ca }) }, () => resolve(socket));
    // Stays: once the line stands, an error of it shows at what runs over it.
    socket.on('error', (error) => {
      reject(new FailureError('unreachable', `no TLS with the proxy: ${error.message}`, { cause: error }));
    });
  });
}
