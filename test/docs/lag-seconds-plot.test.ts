import { expect, it } from 'vitest'
import { plotLagSeconds } from './lag-seconds-plot.js'

// This also draws the picture: npx vitest run lag-seconds-plot --update
it('the plot in the documentation shows what the code does', async () => {
  await expect(plotLagSeconds()).toMatchFileSnapshot('../../docs/lag-seconds.svg')
})
