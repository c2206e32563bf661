import type { Socket } from 'node:net';

const everyMs = 250;

/** What there is under a socket in Node; `getpeername` fills in an address and returns an error number, or 0. */
interface Handle {
  readonly getpeername?: (out: object) => number;
}

/**
 * Destroys the socket soon after its connection was reset. Usually Node does that by itself at once. But when a write of
 * HTTP/2 over TLS is the first to meet the reset, Node 20 forgets to say so: the write never ends, reading has been stopped
 * for its duration, and the session looks alive until a ping goes unanswered (nodejs/node 61304; 26 is better). The kernel
 * knows: a connection that was reset has no peer any more. Node tells that nowhere but here, since `remoteAddress` is
 * remembered from better days.
 */
export function destroyWhenLost(socket: Socket): void {
  const timer = setInterval(() => {
    const handle = (socket as unknown as { readonly _handle?: Handle | null })._handle;
    // Anything but a number: Node has changed inside, and pings have to do.
    const error = handle?.getpeername?.({}) ?? 0;
    if (error !== 0) socket.destroy(new Error('the connection was reset'));
  }, everyMs);
  timer.unref();
  socket.once('close', () => clearInterval(timer));
}
