/** The colors of each theme. Those of followers are from the palette of Okabe and Ito, which color-blind people can tell apart. */
export const colors = {
  light: {
    page: '#f0f2f5',
    panel: '#ffffff',
    text: '#24292f',
    soft: '#57606a',
    line: '#d0d7de',
    followers: ['#0072b2', '#d55e00', '#009e73'],
    other: '#6f42c1',
    band: 'rgba(110, 119, 129, 0.16)',
    red: '#cf222e',
    orange: '#bc4c00',
    green: '#1a7f37',
  },
  dark: {
    page: '#0d1117',
    panel: '#171c24',
    text: '#e6edf3',
    soft: '#9198a1',
    line: '#3d444d',
    followers: ['#56b4e9', '#ff9d4d', '#2fcf9f'],
    other: '#b392f0',
    band: 'rgba(145, 152, 161, 0.22)',
    red: '#ff7b72',
    orange: '#f0883e',
    green: '#3fb950',
  },
}
