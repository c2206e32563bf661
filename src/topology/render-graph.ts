import { drawDot } from './draw-dot.ts';
import { drawMermaid } from './draw-mermaid.ts';
import { drawPicture } from './draw-svg.ts';
import { graphOf } from './graph.ts';
import { pictureOf } from './picture.ts';
import type { Plan } from './plan.ts';
import type { Problem } from './problem.ts';

export const graphFormats = ['svg', 'dot', 'mermaid', 'json'] as const;
export type GraphFormat = (typeof graphFormats)[number];

/** The graph of some files as text, with what was found wrong with them. The same files give the same bytes. */
export async function renderGraph(
  format: GraphFormat,
  plans: readonly Plan[],
  problems: readonly Problem[],
  title?: string,
): Promise<string> {
  const graph = graphOf(plans, problems);
  const picture = pictureOf(graph, title);
  switch (format) {
    case 'svg':
      return drawPicture(picture);
    case 'dot':
      return drawDot(picture);
    case 'mermaid':
      return drawMermaid(picture);
    case 'json':
      return `${JSON.stringify(graph, null, 2)}\n`;
  }
}

/** A drawing as a whole SVG file. */
export function drawSvg(plans: readonly Plan[], problems: readonly Problem[], title?: string): Promise<string> {
  return renderGraph('svg', plans, problems, title);
}
