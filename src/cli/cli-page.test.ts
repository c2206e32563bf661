import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { exitCodes } from './exit-codes.ts';
import { runCli } from './program.ts';

const page = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');

async function help(...args: string[]): Promise<string> {
  let text = '';
  const write = (part: string): void => {
    text += part;
  };
  const host = {
    name: 'causeway',
    version: '1',
    env: {},
    stderrIsTerminal: false,
    stdoutColumns: () => undefined,
    signals: new EventEmitter(),
  };
  await runCli([...args, '--help'], { ...host, out: write, err: write });
  return text;
}

describe('docs/cli.md', () => {
  it('has every exit code', () => {
    const rows = [...page.matchAll(/^\| (\d) \| `(\w+)` \| .+ \|$/gm)].map(([, code, name]) => [name, Number(code)]);
    expect(Object.fromEntries(rows)).toEqual(exitCodes);
  });

  it('has every command and every option', async () => {
    const listed = (await help()).split('Commands:')[1] ?? '';
    const commands = [...listed.matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name ?? '');
    expect(commands.length).toBeGreaterThan(4);
    expect([...page.matchAll(/^## ([a-z]+)$/gm)].map(([, name]) => name)).toEqual(commands);
    for (const command of commands) {
      expect(page).toContain(`| \`causeway ${command}`);
      const section = page.slice(page.indexOf(`\n## ${command}\n`)).split('\n## ')[1] ?? '';
      for (const [, option = ''] of (await help(command)).matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)) {
        if (option !== '--help') expect(section, command).toContain(option);
      }
    }
  });
});
