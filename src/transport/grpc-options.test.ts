import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { clientOptions, serverOptions } from './grpc-options.ts';

const build = dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js'));

/** The text of those files of grpc-js that read options; channel-options.js only lists them, and lists too few. */
function sources(files: (name: string) => boolean): string {
  const names = readdirSync(build).filter((name) => name.endsWith('.js') && name !== 'channel-options.js');
  return names
    .filter(files)
    .map((name) => readFileSync(join(build, name), 'utf8'))
    .join('\n');
}

describe('gRPC options', () => {
  it('of the dialer are all read by grpc-js', () => {
    const client = sources((name) => !name.startsWith('server'));
    for (const key of Object.keys(clientOptions({ maxFrameBytes: 1 }, 'hub'))) {
      expect(client, key).toContain(`'${key}'`);
    }
  });

  it('of the listener are all read by the server of grpc-js', () => {
    const server = sources((name) => name.startsWith('server'));
    for (const key of Object.keys(serverOptions({ maxFrameBytes: 1 }))) expect(server, key).toContain(`'${key}'`);
  });

  it('have no window for the server: the seam is still needed', () => {
    expect(sources((name) => name.startsWith('server'))).not.toContain('flow_control_window');
  });

  it('leave proxies to us', () => {
    expect(clientOptions({ maxFrameBytes: 1 }, 'hub')['grpc.enable_http_proxy']).toBe(0);
  });
});
