-- The menus: Tools > certhash, and in Wireshark 4.2 and later the context menu of a packet.
--
-- Everything that touches Wireshark comes in through `gui` (see the end of certhash.lua), so that what the menus say can be
-- tested without a window.

local M = {}

local story, visible

--- Give this module the ones that it builds on.
function M.using(others)
    story, visible = others.story, others.visible
    return M
end

local RANK = { mismatch = 1, rejected = 2, match = 3, unlisted = 4 }

-- The orders of the list: what is wrong first, by time, by head-end.
local ORDERS = {
    function(a, b) return (RANK[a.verdict] or 5) < (RANK[b.verdict] or 5) end,
    function(a, b) return a.first < b.first end,
    function(a, b) return a.server < b.server end,
}

-- One row for each head-end, name and chain: { server, shown, chain, verdict, found, first, count, refused, devices }.
local function rows(gui, order)
    local by_key, list = {}, {}
    for _, handshake in ipairs(gui.handshakes()) do
        local sent, server = handshake.server_sent, handshake.server
        local hashes = {}
        for i, certificate in ipairs(sent.chain) do
            hashes[i] = certificate.sha1
        end
        local where = gui.endpoint(server)
        local key = table.concat({ where, handshake.server_name or "", table.concat(hashes, " ") }, "\0")
        local row = by_key[key]
        if not row then
            -- The name that was asked for is all that tells some rows apart.
            local name = handshake.server_name and " " .. visible.text(handshake.server_name, 100) or ""
            row = { server = where, shown = where .. name, chain = sent.chain, first = sent.frame }
            row.count, row.refused = 0, 0
            by_key[key], list[#list + 1] = row, row
        end
        row.count = row.count + 1
        row.refused = row.refused + (sent.refusal and 1 or 0)
        row.last = handshake
    end
    for _, row in ipairs(list) do
        -- The last handshake is judged: by then all has been learned that the capture teaches.
        local found = gui.judge(row.last)
        row.found, row.verdict = found, found and found.verdict or "?"
        row.devices = found and #found.told > 0 and story.devices(found.told) or "-"
    end
    local before = ORDERS[order or 1]
    table.sort(list, function(a, b)
        if before(a, b) or before(b, a) then
            return before(a, b)
        end
        return a.first < b.first
    end)
    return list
end

-- Lines of cells, set in columns.
local function set(lines)
    local widths, out = {}, {}
    for _, cells in ipairs(lines) do
        for i, cell in ipairs(cells) do
            widths[i] = math.max(widths[i] or 0, #cell)
        end
    end
    for _, cells in ipairs(lines) do
        local padded = {}
        for i, cell in ipairs(cells) do
            padded[i] = i < #cells and cell .. (" "):rep(widths[i] - #cell) or cell
        end
        out[#out + 1] = table.concat(padded, "  ")
    end
    return table.concat(out, "\n")
end

-- A line folded between words, where Wireshark 4.0's window does not yet fold it: that tears hashes at a / or a +.
local WIDEST = 70

local function folded(line, indent)
    local out, length = {}, math.huge
    for word in line:gmatch("%S+") do
        if length + 1 + #word > WIDEST then
            out[#out + 1] = indent .. (#out > 0 and "  " or "") .. word
            length = #out[#out]
        else
            out[#out] = out[#out] .. " " .. word
            length = length + 1 + #word
        end
    end
    return table.concat(out, "\n")
end

--- The text of the window: a line for each head-end and chain, then the reasons where somebody expects or refused one.
-- `order` is 1 (what is wrong first), 2 (by frame) or 3 (by head-end).
function M.overview(gui, order)
    local list = rows(gui, order)
    -- Two lines each: one would be too wide.
    local lines = { { "VERDICT", "FRAME", "SEEN", "REFUSED", "HEAD-END" }, { "", "", "", "", "CERTHASH" } }
    local reasons = {}
    for _, row in ipairs(list) do
        lines[#lines + 1] = {
            row.verdict, ("%d"):format(row.first), ("%d"):format(row.count), ("%d"):format(row.refused),
            row.shown,
        }
        lines[#lines + 1] = { "", "", "", "", row.chain[1].sha1 }
        if row.found and (row.verdict ~= "unlisted" or row.refused > 0) then
            local reason = { ("%s, first in frame %d"):format(row.shown, row.first) }
            reason[2] = folded(story.verdict(row.found, row.server), "  ")
            reason[3] = folded("devices: " .. row.devices, "  ")
            for _, doubt in ipairs(story.host_id(row.found)) do
                reason[#reason + 1] = folded("warning: " .. doubt, "  ")
            end
            for position, certificate in ipairs(row.chain) do
                reason[#reason + 1] = ("  certificate %d: %s"):format(position - 1, certificate.sha1)
                reason[#reason + 1] = "    " .. certificate.subject
            end
            reasons[#reasons + 1] = table.concat(reason, "\n")
        end
    end
    local out = {}
    if #list == 0 then
        out[1] = "No server's certificate can be seen in this capture.\n\n"
            .. "That does not mean that none was sent: TLS 1.3 and resumed sessions show none."
    else
        out[1] = set(lines)
    end
    if #reasons > 0 then
        out[#out + 1] = table.concat(reasons, "\n\n")
    end
    local path = gui.folder()
    out[#out + 1] = ("%d phone configurations are known%s."):format(
        gui.files(), path ~= "" and ", with those in " .. visible.text(path) or "; no folder of them is set")
    local problems = gui.problems()
    if #problems > 0 then
        out[#out + 1] = "Could not be read:\n  " .. table.concat(problems, "\n  ", 1, math.min(#problems, 100))
    end
    local copies = gui.copies()
    if #copies > 0 then
        out[#out + 1] = ("%d copies are passed over, since no phone asks for such a name, for example %s.")
            :format(#copies, visible.text(copies[1]))
    end
    return table.concat(out, "\n\n") .. "\n"
end

--- The lines that a configuration needs for the head-ends of this capture, the ones with a mismatch first.
function M.lines(gui)
    local out, known = {}, {}
    for _, row in ipairs(rows(gui)) do
        local hash = row.chain[1].sha1
        if not known[hash] then
            known[hash] = true
            out[#out + 1] = ("<certHash%d>%s</certHash%d>"):format(#out + 1, hash, #out + 1)
        end
    end
    return out
end

local function save(gui, text)
    gui.ask("Save the list of certificates", function(path)
        local file, problem = gui.open(path, "w")
        if not file then
            gui.fail("certhash: " .. tostring(problem))
            return
        end
        file:write(text)
        file:close()
    end, "File")
end

local function open_overview(gui)
    local window = gui.window("Certificates in this capture")
    local order = 1
    local text = M.overview(gui, order)
    window:set(text)
    window:set_editable(false)
    window:add_button("Sort otherwise", function()
        order = order % #ORDERS + 1
        text = M.overview(gui, order)
        window:set(text)
    end)
    window:add_button("Save", function() save(gui, text) end)
    window:add_button("Copy", function() gui.copy(text) end)
end

local function copy_lines(gui)
    local lines = M.lines(gui)
    if #lines == 0 then
        gui.fail("certhash: no server's certificate can be seen in this capture.")
        return
    end
    -- A phone takes ten hashes at most, and a capture may hold any number of head-ends.
    local text = table.concat(lines, "\n", 1, math.min(#lines, 10))
    gui.copy(text)
    local window = gui.window("Copied to the clipboard")
    window:set(text .. "\n")
    window:set_editable(false)
end

local function reload(gui)
    gui.reload()
    local problems = gui.problems()
    if gui.folder() == "" then
        gui.fail("certhash: no folder is set. Edit > Preferences > Protocols > CERTHASH names it.")
    elseif #problems > 0 then
        gui.fail("certhash: " .. table.concat(problems, "\n", 1, math.min(#problems, 10)))
    end
end

-- The value of the first certificate's field among the fields of a packet.
local function value_of(name, fields)
    for _, info in ipairs(fields) do
        if info.name == name then
            return info
        end
    end
    return nil
end

--- Add the menus.
function M.register(gui)
    -- Whatever goes wrong in an action is said in a dialog.
    local function guarded(action)
        return function(...)
            local ok, problem = pcall(action, ...)
            if not ok then
                gui.fail("certhash: " .. tostring(problem))
            end
        end
    end
    gui.register_menu("certhash/Certificates in this capture", guarded(function() open_overview(gui) end))
    gui.register_menu("certhash/Copy certHash line", guarded(function() copy_lines(gui) end))
    gui.register_menu("certhash/Reload cnf folder", guarded(function() reload(gui) end))
    if not gui.register_packet_menu then
        return
    end
    local function with(field, use)
        return guarded(function(...)
            local info = value_of(field, { ... })
            if info then
                use(info)
            end
        end)
    end
    gui.register_packet_menu("certhash/Copy Base64 hash",
        with("certhash.sha1", function(info) gui.copy(info.value) end), "certhash.sha1")
    gui.register_packet_menu("certhash/Copy thumbprint",
        with("certhash.thumbprint", function(info) gui.copy(info.value:tohex(false)) end), "certhash.thumbprint")
    gui.register_packet_menu("certhash/Filter on this hash",
        with("certhash.sha1", function(info) gui.filter(('certhash.sha1 == "%s"'):format(info.value)) end), "certhash.sha1")
end

return M
