/** What of a folder goes into a build: the rules of .dockerignore as Docker has them. */

/** Whether a path (relative, forward slashes) is left out. The last rule that matches it, or a folder it lies in, decides. */
export function ignoredBy(rules: string): (path: string) => boolean {
  const patterns = rules.split('\n').flatMap((line) => {
    const rule = line.trim();
    if (rule === '' || rule.startsWith('#')) return [];
    const keep = rule.startsWith('!');
    const pattern = rule
      .slice(keep ? 1 : 0)
      .trim()
      .replace(/^\.?\//, '')
      .replace(/\/$/, '');
    return [{ keep, expression: expressionOf(pattern) }];
  });
  return (path) => {
    const parts = path.split('/');
    const folders = parts.map((_, i) => parts.slice(0, i + 1).join('/'));
    const last = patterns.findLast(({ expression }) => folders.some((folder) => expression.test(folder)));
    return last !== undefined && !last.keep;
  };
}

/** `**` is any number of folders, `*` and `?` stay within one. */
function expressionOf(pattern: string): RegExp {
  const source = pattern.replace(/\*\*\/|\*\*|[*?]|[.+^${}()|[\]\\]/g, (found) => {
    if (found === '**/') return '(?:.*/)?';
    if (found === '**') return '.*';
    if (found === '*') return '[^/]*';
    return found === '?' ? '[^/]' : `\\${found}`;
  });
  return new RegExp(`^${source}$`);
}
