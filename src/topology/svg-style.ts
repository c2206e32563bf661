/** Style of the drawing, for a light and a dark screen. Without variables: not everything that shows SVG knows them. */

interface Palette {
  readonly ground: string;
  readonly sheet: string;
  readonly ink: string;
  readonly soft: string;
  readonly edge: string;
  readonly inset: string;
  readonly fanIn: string;
  readonly fanOut: string;
  readonly replicate: string;
  readonly error: string;
  readonly warning: string;
}

/** The three kinds of links are colours of Okabe and Ito, which stay apart for colour-blind eyes. */
const light: Palette = {
  ...{ ground: '#f6f7f9', sheet: '#ffffff', ink: '#17202b', soft: '#5d6b7c', edge: '#aab4c0', inset: '#eef1f5' },
  ...{ fanIn: '#0072b2', fanOut: '#00795a', replicate: '#8a4fa3', error: '#c4480a', warning: '#9a6700' },
};
const dark: Palette = {
  ...{ ground: '#10151b', sheet: '#1b242e', ink: '#e4e9ef', soft: '#93a1b1', edge: '#4a5868', inset: '#26313d' },
  ...{ fanIn: '#56b4e9', fanOut: '#3cc79d', replicate: '#d29be8', error: '#ff8a4c', warning: '#e8b23a' },
};

const sans = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
const mono = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";

export const svgStyle = `
.cw text { font-family: ${sans}; }
.cw .mono { font-family: ${mono}; }
.cw .middle { text-anchor: middle; }
.cw .strong { font-weight: 600; }
.cw .line { fill: none; stroke-width: 1.7; }
.cw .connection { fill: none; stroke-width: 1.5; stroke-dasharray: 1.5 4; stroke-linecap: round; }
.cw .faulty { stroke-dasharray: 7 4; stroke-width: 2.2; }
.cw .unknown { stroke-dasharray: 5 4; }
.cw .ring { stroke-width: 1.7; }
${colours(light)}
@media (prefers-color-scheme: dark) {
${colours(dark)}
}
`;

function colours(palette: Palette): string {
  const { ground, sheet, ink, soft, edge, inset, error, warning } = palette;
  const marks = [
    ['fan-in', palette.fanIn],
    ['fan-out', palette.fanOut],
    ['replicate', palette.replicate],
    ['peers', soft],
    ['error', error],
    ['warning', warning],
  ];
  return [
    `.cw .ground { fill: ${ground}; }`,
    `.cw .box { fill: ${sheet}; stroke: ${edge}; stroke-width: 1.3; }`,
    `.cw .inset { fill: ${inset}; }`,
    `.cw text { fill: ${ink}; }`,
    `.cw .soft { fill: ${soft}; }`,
    `.cw .ring { fill: ${sheet}; }`,
    `.cw .number { fill: ${ground}; }`,
    ...marks.map(([name, colour]) => `.cw .s-${name} { stroke: ${colour}; } .cw .f-${name} { fill: ${colour}; }`),
  ].join('\n');
}
