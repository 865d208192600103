// An application as the documentation of @fastify/session shows it.
import Fastify from 'fastify'
import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import { RedisStore } from 'connect-redis'
import { createClient } from 'redis'

const client = createClient({ url: `redis://${process.env.REDIS}` })
await client.connect()

const app = Fastify()
app.register(fastifyCookie)
app.register(fastifySession, {
  store: new RedisStore({ client }),
  secret: process.env.SECRETS.split(','),
  cookie: { secure: false, maxAge: Number(process.env.MAX_AGE || 3600000) }
})
app.get('/login', async req => {
  await req.session.regenerate()
  req.session.user = req.query.user
  return 'in'
})
app.get('/change', async req => {
  req.session.user = req.query.user
  return 'changed'
})
app.get('/logout', async req => {
  await req.session.destroy()
  return 'out'
})
app.get('/', async req => req.session.user || '')
await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' })
