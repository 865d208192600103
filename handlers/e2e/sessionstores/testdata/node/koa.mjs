// An application as the documentation of koa-session and koa-redis shows it.
import Koa from 'koa'
import * as koaSession from 'koa-session'
import redisStore from 'koa-redis'

const session = koaSession.default ?? koaSession.createSession
const app = new Koa()
app.keys = process.env.SECRETS.split(',')
const [host, port] = process.env.REDIS.split(':')
app.use(session({
  store: redisStore({ host, port: Number(port) }),
  prefix: process.env.PREFIX || undefined,
  maxAge: Number(process.env.MAX_AGE || 3600000)
}, app))
app.use(async ctx => {
  switch (ctx.path) {
    case '/login':
      ctx.session = { user: ctx.query.user }
      ctx.session.manuallyCommit && await ctx.session.manuallyCommit()
      ctx.body = 'in'
      break
    case '/change':
      ctx.session.user = ctx.query.user
      ctx.body = 'changed'
      break
    case '/logout':
      ctx.session = null
      ctx.body = 'out'
      break
    default:
      ctx.session.views = (ctx.session.views || 0) + 1
      ctx.body = ctx.session.user || ''
  }
})
app.listen(Number(process.env.PORT), '127.0.0.1')
