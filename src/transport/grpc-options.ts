/** What may be tuned per peer or listener. The defaults suit a line of 80 MB/s at 100 ms. */
export interface Tuning {
  /** Largest frame taken from the other side, in bytes. */
  readonly maxFrameBytes: number;
  /** HTTP/2 receive window per stream and per connection, in bytes. Default 8 MiB. */
  readonly windowBytes?: number;
  /** Time between two pings. Default 20 s when dialling, 30 s when listening. */
  readonly keepaliveMs?: number;
  /** Silence after a ping that ends the connection. A ping waits behind data in flight. Default 10 s. */
  readonly keepaliveTimeoutMs?: number;
}

export const defaultWindowBytes = 8 * 1024 * 1024;

/**
 * Every option that we give to gRPC. A closed type, because grpc-js ignores a misspelt key without a word; a test checks that each of
 * these is one that grpc-js reads.
 */
export interface ClientOptions {
  readonly 'grpc.keepalive_time_ms': number;
  readonly 'grpc.keepalive_timeout_ms': number;
  readonly 'grpc.keepalive_permit_without_calls': 0 | 1;
  readonly 'grpc-node.flow_control_window': number;
  readonly 'grpc.use_local_subchannel_pool': 0 | 1;
  readonly 'grpc.enable_retries': 0 | 1;
  readonly 'grpc.per_rpc_retry_buffer_size': number;
  readonly 'grpc.enable_channelz': 0 | 1;
  readonly 'grpc.initial_reconnect_backoff_ms': number;
  readonly 'grpc.max_reconnect_backoff_ms': number;
  readonly 'grpc.dns_min_time_between_resolutions_ms': number;
  readonly 'grpc.service_config_disable_resolution': 0 | 1;
  readonly 'grpc.max_receive_message_length': number;
  readonly 'grpc.max_send_message_length': number;
  readonly 'grpc.primary_user_agent': string;
  readonly 'grpc.enable_http_proxy': 0 | 1;
  readonly 'grpc.default_authority': string;
}

export interface ServerOptions {
  readonly 'grpc.keepalive_time_ms': number;
  readonly 'grpc.keepalive_timeout_ms': number;
  readonly 'grpc.max_connection_idle_ms': number;
  readonly 'grpc.max_concurrent_streams': number;
  readonly 'grpc.enable_channelz': 0 | 1;
  readonly 'grpc.max_receive_message_length': number;
  readonly 'grpc.max_send_message_length': number;
}

/** Options of a connection whose HTTP/2 authority is `serverName`. */
export function clientOptions(tuning: Tuning, serverName: string): ClientOptions {
  return {
    'grpc.keepalive_time_ms': tuning.keepaliveMs ?? 20_000,
    'grpc.keepalive_timeout_ms': tuning.keepaliveTimeoutMs ?? 10_000,
    'grpc.keepalive_permit_without_calls': 1,
    'grpc-node.flow_control_window': tuning.windowBytes ?? defaultWindowBytes,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    // Even without retries gRPC acknowledges the first MiB of each call before HTTP/2 has taken it; 0 makes callbacks honest.
    'grpc.per_rpc_retry_buffer_size': 0,
    'grpc.enable_channelz': 0,
    'grpc.initial_reconnect_backoff_ms': 250,
    'grpc.max_reconnect_backoff_ms': 10_000,
    'grpc.dns_min_time_between_resolutions_ms': 5_000,
    'grpc.service_config_disable_resolution': 1,
    'grpc.max_receive_message_length': tuning.maxFrameBytes,
    'grpc.max_send_message_length': -1,
    'grpc.primary_user_agent': 'causeway',
    // That would be one for the whole process, from its environment. Ours are in road.ts, one for each peer.
    'grpc.enable_http_proxy': 0,
    'grpc.default_authority': serverName,
  };
}

export function serverOptions(tuning: Tuning & { readonly maxStreams?: number }): ServerOptions {
  return {
    'grpc.keepalive_time_ms': tuning.keepaliveMs ?? 30_000,
    'grpc.keepalive_timeout_ms': tuning.keepaliveTimeoutMs ?? 10_000,
    'grpc.max_connection_idle_ms': 300_000,
    'grpc.max_concurrent_streams': tuning.maxStreams ?? 1024,
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': tuning.maxFrameBytes,
    'grpc.max_send_message_length': -1,
  };
}
