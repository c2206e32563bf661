import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { type Metadata, ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';

/** Our one look inside grpc-js: the HTTP/2 stream under a server call. */
export interface Http2Seam {
  /** Must be the first interceptor of the server: only that one is given the object that owns the stream. */
  readonly interceptor: ServerInterceptor;
  /** The stream of the call that came with this request metadata; undefined if grpc-js has changed inside. */
  streamOf(request: Metadata): ServerHttp2Stream | undefined;
}

/**
 * Raises the HTTP/2 receive windows of each accepted connection once, and finds the stream of a call, to reset it. grpc-js 1.14 has
 * an option for the window only at the client: without this a server takes 64 KiB per round trip (grpc-node PR 3058), and a call
 * whose peer does not read could not be ended. Touches one private field, `stream`; `onMissing` is called, once, if it is gone.
 */
export function http2Seam(windowBytes: number, onMissing: (detail: string) => void): Http2Seam {
  const streams = new WeakMap<Metadata, ServerHttp2Stream>();
  const raised = new WeakSet<ServerHttp2Session>();
  let reported = false;
  const interceptor: ServerInterceptor = (_method, call) => {
    const { stream } = call as unknown as { readonly stream?: ServerHttp2Stream };
    const session = stream?.session as ServerHttp2Session | undefined;
    if (stream === undefined || session === undefined) {
      if (!reported) onMissing('grpc-js hides its HTTP/2 streams: receive windows stay at 64 KiB');
      reported = true;
      return new ServerInterceptingCall(call);
    }
    if (!raised.has(session) && !session.destroyed) {
      raised.add(session);
      // Counts for the stream that brought us here as well.
      session.settings({ initialWindowSize: windowBytes });
      session.setLocalWindowSize(windowBytes);
    }
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, proceed) => {
            streams.set(metadata, stream);
            proceed(metadata);
          },
        }),
    });
  };
  return { interceptor, streamOf: (request) => streams.get(request) };
}
